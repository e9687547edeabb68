"""What somebody has written anew, without what a mail program put below it.

By lines and in linear time. Where it is not certain that something is a quotation it stays: a few lines too many cost
little, a question that was cut off costs the answer.
"""

from __future__ import annotations

import re

__all__ = ["new_text"]

_LINE = 300
"""Characters of a line that are looked at."""
_GAP = 4
"""Lines from a quotation up to the one that says who wrote it, which stands above blank ones."""
# "On 3 March 2027, Ann <ann@example.org> wrote:" in the languages of the larger mail programs. The last word decides;
# a digit or an address must stand before it, so that a sentence which ends with "he wrote:" is none.
_WROTE = re.compile(
    r"(?:<[^<>\s@]{1,64}@[^<>\s]{1,200}>|"
    r"wrote|writes|schrieb(?: .{0,100})?|geschrieben|a écrit|escribió|escribio|ha scritto|scrisse|escreveu|schreef"
    r"(?: .{0,100})?|skrev(?: .{0,100})?|napsala?|napsal\(a\)|napisała?|napisał\(a\)|написала?|написал\(а\)|пишет|"  # noqa: RUF001  # words of many alphabets
    r"kirjoitti|írta|yazdı|şunu yazdı|έγραψε|a scris|写道|寫道|のメール|のメッセージ|님이 작성)\s?[:\uff1a]$",  # noqa: RUF001  # words of many alphabets
    re.IGNORECASE,
)
_FROM = "from|von|de|da|van|od|från|fra|lähettäjä|feladó|от|від|kimden|gönderen|发件人|寄件者|差出人|보낸 사람|από"
_SENT = (
    "sent|date|gesendet|datum|envoyé|enviado|enviada|fecha|data|inviato|verzonden|odesláno|wysłano|skickat|sendt|dato|"
    "lähetetty|elküldve|отправлено|дата|надіслано|gönderildi|tarih|发送时间|日期|送信日時|日付|보낸 날짜|ημερομηνία"
)
_HEAD = re.compile(r"^[*\s]{0,4}([^:\uff1a]{2,20}?)\s?[*]?[:\uff1a]\s?[*]?\s?\S")
_FIRST, _SECOND = re.compile(rf"(?:{_FROM})", re.IGNORECASE), re.compile(rf"(?:{_SENT})", re.IGNORECASE)
_RULE = re.compile(r"^(?:[_-]{5,}|-{2,}\s?[^-]{3,60}\s?-{2,})$")
"""A line of strokes, perhaps with words in it: ``-----Original Message-----``."""
_DEVICE = re.compile(
    r"^(?:Sent from (?:my|Outlook|Mail|Yahoo)|Get Outlook for|Von meinem .{2,40} gesendet|Gesendet (?:mit|von) |"
    r"Envoyé (?:de|depuis) mon|Enviado (?:desde mi|do meu)|Inviato da(?:l mio)? |Verzonden vanaf mijn|"
    r"Skickat från min|Sendt fra min|Отправлено с ).{0,80}$",  # noqa: RUF001  # words of many alphabets
    re.IGNORECASE,
)
_SIGNATURE_LINES = 12


def new_text(text: str, *, reply: bool) -> str:
    """The new words of a mail; all of them where nothing new would be left. `reply`: it answers another mail.

    Taken away are the signature behind ``-- ``, and from replies the quoted mail at the end, or at the beginning under
    a line that says who wrote it. Quotations between new words stay: those answer them.
    """
    lines = text.split("\n")
    if reply:
        lines = _without_quoted_end(lines)
        lines = _without_quoted_start(lines)
    lines = _without_signature(lines)
    return "\n".join(lines).strip("\n").rstrip() or text.strip("\n").rstrip()


def _is_quoted(line: str) -> bool:
    return line.startswith(">")


def _attribution(lines: list[str], end: int) -> int:
    """Where the line that says who wrote begins, if it ends before `end` (blank lines between); else `end`."""
    last = end - 1
    while last >= 0 and end - last < _GAP and not lines[last].strip():
        last -= 1
    if last < 0 or not lines[last].rstrip().endswith((":", "\uff1a")):
        return end
    # Mail programs fold it: it begins at most two lines above, behind a blank line or at the first one with a date.
    for first in range(last, max(-1, last - 3), -1):
        words = " ".join(lines[first : last + 1]).rstrip()[-_LINE:]
        if not lines[first].strip() or _is_quoted(lines[first]):
            break
        if (
            re.search(r"\d|@", words)
            and _WROTE.search(words)
            and (first == 0 or not lines[first - 1].strip() or re.search(r"\d", lines[first]))
        ):
            return first
    return end


def _without_quoted_end(lines: list[str]) -> list[str]:
    for at, line in enumerate(lines):
        if at and _begins_old_mail(lines, at):
            above = lines[:at]
            while above and (not above[-1].strip() or _RULE.match(above[-1].strip()[:_LINE])):
                above.pop()
            return above if any(one.strip() for one in above) else lines
        if _is_quoted(line) and (start := _attribution(lines, at)) < at and start and _rest_is_quoted(lines, at):
            return lines[:start]
    end = len(lines)
    while end and (not lines[end - 1].strip() or _is_quoted(lines[end - 1])):
        end -= 1
    return lines[: _attribution(lines, end)] if any(_is_quoted(line) for line in lines[end:]) and end else lines


def _rest_is_quoted(lines: list[str], at: int) -> bool:
    """Whether below there is the quoted mail and at most a signature; not new words."""
    while at < len(lines) and (not lines[at].strip() or _is_quoted(lines[at])):
        at += 1
    return at == len(lines) or lines[at].rstrip() == "--"


def _begins_old_mail(lines: list[str], at: int) -> bool:
    """Whether there is the block of headers that Outlook puts above the mail that it quotes."""
    first = _HEAD.match(lines[at][:_LINE])
    if first is None or not _FIRST.fullmatch(first[1].strip()):
        return False
    labels = [head[1].strip() for line in lines[at + 1 : at + 6] if (head := _HEAD.match(line[:_LINE]))]
    return len(labels) > 1 and any(_SECOND.fullmatch(label) for label in labels)


def _without_quoted_start(lines: list[str]) -> list[str]:
    """Without a quoted mail on top, if that is the only quotation."""
    start = next((at for at, line in enumerate(lines) if _is_quoted(line)), len(lines))
    if start == len(lines) or _attribution(lines, start) == start or any(map(str.strip, lines[: _top(lines, start)])):
        return lines
    end = start
    while end < len(lines) and (_is_quoted(lines[end]) or not lines[end].strip()):
        end += 1
    return lines if any(map(_is_quoted, lines[end:])) else lines[end:]


def _top(lines: list[str], start: int) -> int:
    return _attribution(lines, start)


def _without_signature(lines: list[str]) -> list[str]:
    floor = max(0, len(lines) - _SIGNATURE_LINES - 1)
    for at in range(len(lines) - 1, floor - 1, -1):
        if lines[at] in {"-- ", "--"} and at:
            return lines[:at]
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return lines[: end - 1] if end > 1 and _DEVICE.match(lines[end - 1].strip()[:_LINE]) else lines
