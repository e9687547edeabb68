"""The tool, through a way out as the sandbox gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairlead_fetch
from fairlead import File, Settings, Text, Tool, ToolCall, ToolResult, ToolSpec
from fairlead.errors import ToolError
from fairlead.testing import FakeToolContext
from fairlead.wire import check, structure
from fairlead_fetch import Fetch
from fairlead_fetch.plugin import fairlead_tools

from .far import FarSide, Reply, refused, running, zipped

SITE = "https://docs.example.org"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[FarSide]:
    with running() as side:
        monkeypatch.setenv("FAIRLEAD_EGRESS", f"http://127.0.0.1:{side.port}")
        side.pages[f"{SITE}/"] = Reply(b"<title>Docs</title><p>Welcome")
        yield side


async def fetch(url: str, tool: Tool | None = None, **more: Any) -> ToolResult:
    result = await (tool or Fetch()).call(ToolCall("1", "fetch", {"url": url, **more}), FakeToolContext())
    assert isinstance(result, ToolResult)
    return result


async def failure(url: str, **more: Any) -> str:
    with pytest.raises(ToolError) as caught:
        await fetch(url, **more)
    return str(caught.value)


def test_manifest_has_the_specs_of_the_code() -> None:
    """So that nobody has to run the code to know them."""
    manifest = json.loads(Path(fairlead_fetch.__file__).with_name("fairlead-plugin.json").read_text("utf-8"))
    check("plugin-manifest", manifest)
    assert list(Fetch().specs()) == [structure(spec, ToolSpec) for spec in manifest["tools"]]
    assert "container" == manifest["isolation"]


async def test_options_of_the_table_reach_the_tool(far: FarSide) -> None:
    """As the manifest describes them."""
    (tool,) = fairlead_tools(Settings("fetch", {"max_bytes": 10, "seconds": 5}))
    far.pages[f"{SITE}/x"] = Reply(b"0123456789abc", "text/plain")
    assert (await fetch(f"{SITE}/x", tool)).text.startswith("0123456789\n\n[cut off here.")


async def test_page_comes_as_text_with_its_title_and_address(far: FarSide) -> None:
    """One GET, without cookies."""
    assert f"Docs\n{SITE}/\n\nWelcome" == (await fetch(SITE)).text
    assert [f"{SITE}/"] == far.asked
    assert {"Host", "User-Agent", "Accept", "Accept-Encoding"} == set(far.headers[0])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(b'{"a": [1, "\xc3\xa9"]}', "application/json"), '{\n "a": [\n  1,\n  "é"\n ]\n}'),
        (Reply(b'{\n"a": 1}', "application/ld+json"), '{\n"a": 1}'),
        (Reply(b"{broken", "application/json"), "{broken"),
        (Reply(b"[" * 100_000, "application/json"), "[" * 100_000),
        (Reply(b"plain \xe9", "text/plain; charset=latin-1"), "plain é"),
        (Reply(b"plain \xc3\xa9", "text/plain"), "plain é"),
        (Reply(b"\xff\xfeh\0i\0", "text/plain"), "hi"),
        (Reply(b"bad \xff", "text/plain; charset=utf-8"), "bad \ufffd"),
        (Reply(b"odd", "text/plain; charset=zlib"), "odd"),
        (Reply(b"odd", "text/plain; charset=undefined"), "odd"),
        (Reply(b"odd", "text/plain; charset=no-such"), "odd"),
        (Reply(b"<a/>", "application/atom+xml"), "<a/>"),
        (Reply(b"a: 1", "application/yaml"), "a: 1"),
        (zipped(b"packed", "text/plain"), "packed"),
        (Reply(b"", "application/pdf", 204), f"{SITE}/x: 204 No Content, with nothing in it"),
    ],
)
async def test_text_comes_as_text(far: FarSide, reply: Reply, expected: str) -> None:
    """In the encoding that the server, the page or its first bytes name; UTF-8 where that is none."""
    far.pages[f"{SITE}/x"] = reply
    assert expected == (await fetch(f"{SITE}/x")).text


async def test_encoding_of_a_page_is_read_from_the_page(far: FarSide) -> None:
    """Where the server says nothing of it."""
    far.pages[f"{SITE}/x"] = Reply('<meta charset="iso-8859-1"><p>é'.encode("latin-1"), "text/html")
    assert (await fetch(f"{SITE}/x")).text.endswith("é")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/report.pdf?v=2", "report.pdf"),
        ("/a%2F..%2Fb.bin", "a_.._b.bin"),
        ("/", "file"),
        ("/..", "file"),
        ("/%00", "_"),
    ],
)
async def test_anything_else_comes_as_a_file(far: FarSide, path: str, name: str) -> None:
    """With a harmless name."""
    far.pages[SITE + path] = Reply(b"\0\1\2", "application/pdf")
    text, file = (await fetch(SITE + path)).parts
    assert File(name, "application/pdf", b"\0\1\2") == file
    assert isinstance(text, Text)
    assert "3 bytes" in text.text


async def test_answer_without_a_type_is_text_as_http_has_it(far: FarSide) -> None:
    """The library's default for a missing one."""
    far.pages[f"{SITE}/x"] = Reply(b"x", "")
    assert "x" == (await fetch(f"{SITE}/x")).text


async def test_large_answers_are_cut_or_refused(far: FarSide) -> None:
    """Text is cut and says so; half a file is none."""
    far.pages[f"{SITE}/text"] = Reply(b"x" * 250_000, "text/plain")
    far.pages[f"{SITE}/file"] = Reply(bytes(250_000), "image/png")
    assert "[cut off here: 150,000 characters more.]" in (await fetch(f"{SITE}/text")).text
    assert "[cut off here. The page has more bytes" in (await fetch(f"{SITE}/text", max_bytes=1000)).text
    assert "more than 1,000 bytes" in await failure(f"{SITE}/file", max_bytes=1000)


async def test_little_that_unpacks_to_much_is_cut(far: FarSide) -> None:
    """No more is unpacked than is wanted."""
    far.pages[f"{SITE}/bomb"] = zipped(bytes(50_000_000), "text/plain")
    assert len((await fetch(f"{SITE}/bomb", max_bytes=5000)).text) < 6000


async def test_redirects_are_followed(far: FarSide) -> None:
    """Also to other hosts and relative ones; each is a request to the proxy. The address shown is the last one."""
    far.pages[f"{SITE}/old"] = Reply(status=301, headers={"Location": "/older?x=1#part"})
    far.pages[f"{SITE}/older?x=1"] = Reply(status=307, headers={"Location": "//other.example.org/new"})
    far.pages["https://other.example.org/new"] = Reply(b"<p>new")
    assert (await fetch(f"{SITE}/old")).text.startswith("https://other.example.org/new\n")
    assert [f"{SITE}/old", f"{SITE}/older?x=1", "https://other.example.org/new"] == far.asked


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://evil.org/", "evil.org:443 is not granted"),
        ("http://169.254.169.254/latest/", "169.254.169.254:80 is not granted"),
        ("/loop", "more than 10 redirects"),
        ("file:///etc/passwd", "expected a URL such as"),
        ("https://user:pw@evil.org/", "user name or password"),
        ("https://[::1/", "no URL"),
        ("https://x y/", "no spaces"),
    ],
)
async def test_redirect_that_leads_nowhere_is_told(far: FarSide, location: str, words: str) -> None:
    """Nothing but http and https, through the proxy."""
    far.pages[f"{SITE}/loop"] = Reply(status=302, headers={"Location": location})
    assert words in await failure(f"{SITE}/loop")


async def test_host_that_is_not_granted_is_told_with_what_to_write(far: FarSide) -> None:
    """For whoever runs this."""
    words = await failure("https://example.org/page")
    assert "example.org:443 is not granted to this tool" in words
    assert 'hosts = ["example.org:443"] into [tools.fetch]' in words
    assert 'hosts = ["[::1]:8080"]' in await failure("http://[::1]:8080/")


async def test_other_refusals_of_the_proxy_are_told(far: FarSide) -> None:
    """In its words; a server's own 403 is told from them."""
    far.pages[f"{SITE}/private"] = refused(
        "not-public", "docs.example.org stands for 10.0.0.1, which is no public address"
    )
    far.pages[f"{SITE}/secret"] = Reply(b"<p>Keep out", status=403)
    assert "was not fetched: docs.example.org stands for 10.0.0.1" in await failure(f"{SITE}/private")
    assert "answered 403 Forbidden" in await failure(f"{SITE}/secret")
    assert "Keep out" in await failure(f"{SITE}/secret")
    assert "answered 404 Not Found" in await failure(f"{SITE}/none")


@pytest.mark.parametrize("where", ["", "nonsense", "http://127.0.0.1", "http://127.0.0.1:x"])
async def test_no_way_out_is_told(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Where no host is granted at all, the sandbox gives none."""
    monkeypatch.setenv("FAIRLEAD_EGRESS", where)
    assert 'hosts = ["docs.example.org:443"]' in await failure(SITE)


async def test_broken_answers_are_told(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one, one that is not what it says, nobody there, one that takes too long."""
    far.pages[f"{SITE}/half"] = Reply(b"half", length=100)
    far.pages[f"{SITE}/zip"] = Reply(b"no gzip", headers={"Content-Encoding": "gzip"})
    far.pages[f"{SITE}/br"] = Reply(b"no br", headers={"Content-Encoding": "br"})
    assert "it broke off" in await failure(f"{SITE}/half")
    assert "no whole answer" in await failure(f"{SITE}/zip")
    assert "compressed with 'br'" in await failure(f"{SITE}/br")
    with pytest.raises(ToolError, match=r"too long|timed out"):
        await fetch(f"{SITE}/half", Fetch(seconds=0.0))
    monkeypatch.setenv("FAIRLEAD_EGRESS", "http://127.0.0.1:1")
    assert "no whole answer" in await failure(SITE)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("docs.example.org", "expected a URL such as"),
        ("ftp://docs.example.org/", "expected a URL such as"),
        ("file:///etc/passwd", "expected a URL such as"),
        ("https:///x", "expected a URL such as"),
        ("https://", "expected a URL such as"),
        ("https://a b/", "no spaces"),
        ("https://docs.example.org/\r\nX: y", "no spaces, line breaks"),
        ("https://docs.example.org\\@evil.org/", "backslashes"),
        ("https://user@docs.example.org/", "user name or password"),
        ("https://docs.example.org:99999/", "is no URL"),
        ("https://docs.example.org:x/", "is no URL"),
        ("https://[::1/", "is no URL"),
        ("https://" + "a" * 9000, "at most 8000"),
        ("https://\u2024\u2024/", "is no URL"),
        ("https://docs.example.org./", "is no URL"),
        ("https://docs.example.org%2eevil.org/", "is no URL"),
    ],
)
async def test_text_that_is_no_url_is_told(far: FarSide, url: str, words: str) -> None:
    """Before anything is asked."""
    assert words in await failure(url)
    assert [] == far.asked


async def test_letters_beyond_ascii_are_written_as_the_web_has_them(far: FarSide) -> None:
    """Host, path and query."""
    far.pages["https://xn--bcher-kva.example/%C3%A9%20x?q=%C3%BC&r=%41"] = Reply(b"ok", "text/plain")
    assert "ok" == (await fetch("https://bücher.example/é%20x?q=ü&r=%41#part")).text
