"""IMAP (RFC 9051, 3501) on trio: what one mailbox needs, and no more."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import trio
from attrs import define, field, frozen

from fairlead_email._options import Options
from fairlead_email._wire import ANSWER_SECONDS, Gone, Refused, Wire, patience, wired

__all__ = ["Imap", "LoginRefused", "Mail", "imap_session"]

RESPONSES = 10_000
"""Untagged ones to one command."""
DEPTH = 50
PIECES = 100
_LITERAL = re.compile(rb"\{(\d{1,10})\+?\}$")
_TOKEN = re.compile(rb'\(|\)|"((?:[^"\\]|\\.)*+)"|[^\s()"]+')
_STATUS = re.compile(rb"^(OK|NO|BAD|BYE|PREAUTH)\b ?(.*)", re.IGNORECASE | re.DOTALL)

Token = bytes | list["Token"]


class LoginRefused(Refused):
    """Name or password are wrong. Trying again soon may lock the account."""


@frozen
class Mail:
    """One message of the mailbox."""

    uid: int
    raw: bytes
    size: int
    """Bytes of the whole; larger than `raw` where only its beginning was fetched."""
    date: float
    """When the mailbox got it: Unix seconds, 0 where unknown."""
    flags: frozenset[str]


@define(eq=False)
class Imap:
    """A session with its mailbox selected. `Gone` and `Refused` from every method."""

    wire: Wire
    capabilities: frozenset[str] = frozenset()
    validity: int = 0
    """UIDVALIDITY."""
    next_uid: int = 0
    keywords: bool = False
    """Any flag may be set, not only those of the standard."""
    read_only: bool = False
    changed: bool = False
    """The mailbox has changed since this was last set to False."""
    _tag: int = field(default=0)

    async def command(self, line: bytes, *, follow: bytes | None = None, largest: int = 1_000_000) -> list[list[Token]]:
        """One command; what came untagged, parsed. `follow`: what is sent when the server asks for more.

        `largest`: bytes of a literal in the answers.
        """
        self._tag += 1
        tag = b"F%d" % self._tag
        untagged: list[list[Token]] = []
        name = line.partition(b" ")[0].decode("ascii", "replace")
        with patience(ANSWER_SECONDS, f"IMAP {name}"):
            await self.wire.send(tag + b" " + line + b"\r\n")
        while True:
            with patience(ANSWER_SECONDS, f"IMAP {name}"):  # for each response: a large mail may take a while
                pieces = await self._pieces(largest)
            head, _, rest = pieces[0].partition(b" ")
            if head == b"+" and follow is not None:
                with patience(ANSWER_SECONDS, f"IMAP {name}"):
                    await self.wire.send(follow + b"\r\n")
                follow = None
            elif head == b"*":
                untagged.append(self._untagged(pieces))
                if len(untagged) > RESPONSES:
                    raise Gone(f"{self.wire.server} answers without an end")
            elif head == tag:
                status = _STATUS.match(rest)
                words = status[2].decode("utf-8", "replace")[:300] if status else ""
                if status is None or status[1].upper() != b"OK":
                    raise Refused(f"IMAP {name}: {words or 'refused'}")
                self._note(words)
                return untagged

    async def _pieces(self, largest: int) -> list[bytes]:
        """One response: text and literals in turn."""
        pieces: list[bytes] = []
        while True:
            line = await self.wire.line()
            literal = _LITERAL.search(line)
            if literal is None:
                return [*pieces, line]
            size = int(literal[1])
            if size > largest or len(pieces) > PIECES:
                raise Gone(f"{self.wire.server} sends {size} bytes where at most {largest} were expected")
            pieces += [line[: literal.start()], await self.wire.exactly(size)]

    def _untagged(self, pieces: list[bytes]) -> list[Token]:
        text = pieces[0][2:]
        status = _STATUS.match(text)
        if status is not None:
            words = status[2].decode("utf-8", "replace")[:1000]
            if status[1].upper() == b"BYE":
                raise Gone(f"{self.wire.server} says goodbye: {words[:200]}")
            self._note(words)
            return [status[1].upper(), status[2]]
        tokens = _tokens([text, *pieces[1:]])
        if len(tokens) > 1 and tokens[1] in (b"EXISTS", b"EXPUNGE"):
            self.changed = True
        elif tokens and tokens[0] == b"CAPABILITY":
            self.capabilities = frozenset(str(word, "ascii", "replace").upper() for word in _flat(tokens[1:]))
        return tokens

    def _note(self, words: str) -> None:
        """What a response code says: ``[UIDVALIDITY 3857529045]``."""
        code = re.match(r"\[([A-Z-]{1,20}) ?([^\]]{0,2000})\]", words, re.IGNORECASE)
        if code is None:
            return
        name, value = code[1].upper(), code[2]
        if name == "UIDVALIDITY" and value.isdecimal():
            self.validity = int(value)
        elif name == "UIDNEXT" and value.isdecimal():
            self.next_uid = int(value)
        elif name == "PERMANENTFLAGS":
            self.keywords = "\\*" in value
        elif name in {"READ-ONLY", "READ-WRITE"}:
            self.read_only = name == "READ-ONLY"
        elif name == "CAPABILITY":
            self.capabilities = frozenset(value.upper().split())

    # -- the beginning

    async def greet(self) -> None:
        """Read the greeting, start TLS where it does not come first, and learn what the server can."""
        with patience(ANSWER_SECONDS, f"the greeting of {self.wire.server}"):
            pieces = await self._pieces(1000)
        self._untagged(pieces)
        if not pieces[0].upper().startswith((b"* OK", b"* PREAUTH")):
            raise Gone(f"{self.wire.server} does not speak IMAP")
        if self.wire.server.tls == "starttls":
            await self.command(b"STARTTLS")
            with patience(ANSWER_SECONDS, f"TLS with {self.wire.server}"):
                await self.wire.start_tls()
            self.capabilities = frozenset()
        await self.command(b"CAPABILITY")

    async def log_in(self, username: str, password: str) -> None:
        """`LoginRefused`: name or password are wrong."""
        try:
            if "AUTH=PLAIN" in self.capabilities:
                words = base64.b64encode(f"\0{username}\0{password}".encode())
                await self.command(b"AUTHENTICATE PLAIN", follow=words)
            else:
                await self.command(b"LOGIN %s %s" % (quoted(username), quoted(password)))
        except Refused as error:
            # RFC 5530: [UNAVAILABLE] is a server in trouble, [LIMIT] or [INUSE] pass.
            if re.search(r"\[(?:UNAVAILABLE|LIMIT|INUSE|SERVERBUG)\]", str(error)):
                raise Gone(str(error)) from error
            raise LoginRefused(f"{self.wire.server} refuses the login of {username}: {error}") from error
        await self.command(b"CAPABILITY")

    async def select(self, mailbox: str) -> None:
        """Open a mailbox."""
        await self.command(b"SELECT " + quoted(utf7(mailbox)))
        if not self.validity:
            raise Refused(f"the mailbox {mailbox!r} has no UIDVALIDITY: its messages have no lasting numbers")

    # -- messages

    async def search(self, criteria: str) -> list[int]:
        """The UIDs of the messages that match, in order."""
        found: set[int] = set()
        for tokens in await self.command(b"UID SEARCH " + criteria.encode("ascii")):
            if tokens and tokens[0] == b"SEARCH":
                found.update(int(token) for token in tokens[1:] if isinstance(token, bytes) and token.isdigit())
        return sorted(found)

    async def fetch(self, uid: int, max_bytes: int) -> Mail | None:
        """One message, at most its first `max_bytes`. None: it is gone."""
        items = b"UID FETCH %d (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]<0.%d>)" % (uid, max_bytes)
        for tokens in await self.command(items, largest=max_bytes + 1000):
            if tokens[1:2] != [b"FETCH"] or not isinstance(tokens[-1], list):
                continue
            pairs = dict(zip([_atom(key).upper() for key in tokens[-1][::2]], tokens[-1][1::2], strict=False))
            raw = next((value for key, value in pairs.items() if key.startswith(b"BODY[")), None)
            if _number(pairs.get(b"UID")) == uid and isinstance(raw, bytes):
                flags = frozenset(word.decode("ascii", "replace") for word in _flat(pairs.get(b"FLAGS", [])))
                size, date = _number(pairs.get(b"RFC822.SIZE")), _date(_atom(pairs.get(b"INTERNALDATE", b"")))
                return Mail(uid, raw, max(size, len(raw)), date, flags)
        return None

    async def flag(self, uid: int, *flags: str) -> None:
        """Set flags. Those that the server does not take are left out; that is no error."""
        wanted = [flag for flag in flags if flag.startswith("\\") or self.keywords]
        if wanted and not self.read_only:
            await self.command(f"UID STORE {uid} +FLAGS.SILENT ({' '.join(wanted)})".encode("ascii"))

    async def move(self, uid: int, mailbox: str) -> None:
        """Move a message; the mailbox is made where it is missing. A message that is gone is no error."""
        target = quoted(utf7(mailbox))
        step = b"UID MOVE" if "MOVE" in self.capabilities else b"UID COPY"
        try:
            await self.command(b"%s %d %s" % (step, uid, target))
        except Refused as error:
            if "TRYCREATE" not in str(error):
                raise
            await self.command(b"CREATE " + target)
            await self.command(b"%s %d %s" % (step, uid, target))
        if step == b"UID COPY":
            await self.command(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
            # Without UIDPLUS an EXPUNGE would remove what others have marked: it then stays, marked.
            if "UIDPLUS" in self.capabilities:
                await self.command(b"UID EXPUNGE %d" % uid)

    async def idle(self, seconds: float) -> None:
        """Wait for a change, at most that long. The end of IDLE is answered: so a dead connection is found."""
        self._tag += 1
        tag = b"F%d" % self._tag
        with patience(ANSWER_SECONDS, "IMAP IDLE"):
            await self.wire.send(tag + b" IDLE\r\n")
            while not await self._idles(tag):
                pass
        with patience(seconds + ANSWER_SECONDS, "IMAP IDLE"):
            deadline = trio.current_time() + seconds
            while not self.changed:
                with trio.move_on_at(deadline) as scope:
                    await self.wire.wait()
                if scope.cancelled_caught:
                    break
                self._untagged(await self._pieces(10_000))  # what has begun is read to its end
            await self.wire.send(b"DONE\r\n")
            while True:
                pieces = await self._pieces(10_000)
                if pieces[0].startswith(tag):
                    return
                self._untagged(pieces)

    async def _idles(self, tag: bytes) -> bool:
        pieces = await self._pieces(10_000)
        if pieces[0].startswith(tag):
            raise Refused(f"IMAP IDLE: {pieces[0].decode('utf-8', 'replace')[:200]}")
        if pieces[0].startswith(b"+"):
            return True
        self._untagged(pieces)
        return False


@asynccontextmanager
async def imap_session(options: Options) -> AsyncIterator[Imap]:
    """Connected, logged in, the mailbox selected."""
    async with wired(options.imap) as wire:
        imap = Imap(wire)
        await imap.greet()
        await imap.log_in(options.username, options.password.reveal())
        await imap.select(options.mailbox)
        yield imap


def quoted(text: str) -> bytes:
    """A quoted string. `Refused`: it cannot be one."""
    raw = text.encode("utf-8")
    if re.search(rb"[\r\n\0]", raw):
        raise Refused(f"{text[:20]!r} has characters that IMAP does not take")
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", raw) + b'"'


def utf7(name: str) -> str:
    """A mailbox's name in IMAP's own UTF-7 (RFC 3501, 5.1.3)."""

    def shifted(run: re.Match[str]) -> str:
        if run[0] == "&":
            return "&-"
        return "&" + base64.b64encode(run[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"

    return re.sub(r"&|[^ -~]+", shifted, name)


def _tokens(pieces: Sequence[bytes]) -> list[Token]:
    """Atoms, strings and lists of a response; odd pieces are literals. `Gone`: it is no response."""
    stack: list[list[Token]] = [[]]
    for index, piece in enumerate(pieces):
        if index % 2:
            stack[-1].append(piece)
            continue
        for token in _TOKEN.finditer(piece):
            word = token[0]
            if word == b"(":
                stack.append([])
                if len(stack) > DEPTH:
                    raise Gone("the IMAP server sends lists without an end")
            elif word == b")":
                if len(stack) == 1:
                    raise Gone("the IMAP server sends broken lists")
                done = stack.pop()
                stack[-1].append(done)
            else:
                stack[-1].append(word if token[1] is None else re.sub(rb"\\(.)", rb"\1", token[1]))
    return stack[0]


def _atom(token: Token) -> bytes:
    return token if isinstance(token, bytes) else b""


def _flat(tokens: Token) -> list[bytes]:
    return [token for token in tokens if isinstance(token, bytes)] if isinstance(tokens, list) else []


def _number(token: Token | None) -> int:
    return int(token) if isinstance(token, bytes) and token.isdigit() else 0


def _date(value: bytes) -> float:
    try:
        return parsedate_to_datetime(value.decode("ascii").replace("-", " ", 2)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
