"""Paths that try to leave the workspace, things that are no files, and files that change meanwhile."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_workbench.bare import Limits, Refusal, Workspace, show, walk

from .calling import Bench

TOOLS: dict[str, dict[str, str]] = {
    "read_file": {},
    "write_file": {"content": "overwritten"},
    "edit_file": {"old": "secret", "new": "overwritten"},
    "send_file": {},
    "list_files": {},
    "search_files": {"pattern": "secret"},
}
"""Every tool that takes a path, with its other arguments."""

OUTSIDE = [
    "../outside/secret.txt",
    "..",
    "../",
    "../../../../../../etc/passwd",
    "a/../../outside/secret.txt",
    "./.././outside/secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "/",
    "/proc/self/environ",
    "/dev/zero",
    "a/../..",
]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def refused_by_all(bench: Bench, path: str, *words: str) -> None:
    for tool, more in TOOLS.items():
        said = await bench.refusal(tool, path=path, **more)
        assert "\n" not in said
        assert any(word in said for word in words), said
    assert "the secret\n" == bench.secret.read_text()
    assert ["secret.txt"] == [entry.name for entry in bench.outside.iterdir()]


@pytest.mark.parametrize("path", OUTSIDE)
async def test_path_that_leads_out_is_refused(bench: Bench, path: str) -> None:
    """By every tool, in words, and nothing outside is touched."""
    bench.put("a/b", "")
    await refused_by_all(bench, path, "out of the workspace", "outside of the workspace")


async def test_neighbour_with_a_longer_name_is_outside(bench: Bench) -> None:
    """A prefix of a name is no directory above it."""
    neighbour = Path(f"{bench.root}-2")
    neighbour.mkdir()
    (neighbour / "x").write_text("secret")
    await refused_by_all(bench, f"{neighbour}/x", "outside of the workspace")


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "a\r", "\x1b[2J", "\x7f", "a\tb", "\ud800"])
async def test_control_characters_are_refused(bench: Bench, path: str) -> None:
    """They would be written into somebody's terminal or journal."""
    await refused_by_all(bench, path, "has a control character or half a character")


@pytest.mark.parametrize(
    ("path", "words"),
    [("x" * 256, "found 256 in xxx"), ("ü" * 200, "found 400 in"), ("a/" * 101 + "b", "100 parts"), ("ü/" * 1_900, "")],
)
async def test_names_that_no_system_takes_are_refused(bench: Bench, path: str, words: str) -> None:
    """Before the system is asked."""
    await refused_by_all(bench, path, words)


LINKS: dict[str, tuple[str, str]] = {
    "to a file outside": ("../outside/secret.txt", "link"),
    "to a directory outside": ("../outside", "link/secret.txt"),
    "absolute": ("/etc/passwd", "link"),
    "to the root": ("/", "link/etc/passwd"),
    "to its own process": ("/proc/self", "link/environ"),
    "out by a long way": ("a/../../outside/secret.txt", "link"),
}


@pytest.mark.parametrize(("target", "path"), LINKS.values(), ids=LINKS.keys())
async def test_link_that_leads_out_is_refused(bench: Bench, target: str, path: str) -> None:
    """Also for writing: what it points to is not written, and the link stays."""
    bench.put("a/b", "")
    (bench.root / "link").symlink_to(target)
    await refused_by_all(bench, path, "leads out of the workspace")
    assert target == str((bench.root / "link").readlink())


async def test_links_inside_are_followed(bench: Bench) -> None:
    """Relative ones, absolute ones, and chains; what they point to is read and written, and they stay links."""
    bench.put("real/a.txt", "words\n")
    (bench.root / "one").symlink_to("real")
    (bench.root / "two").symlink_to(bench.root / "one")
    (bench.root / "real/three").symlink_to("../two/a.txt")
    for path in ("one/a.txt", "two/a.txt", "real/three", f"{bench.root}/two/three", "two/../real/a.txt"):
        assert "     1\twords" == await bench.text("read_file", path=path)
    assert "Replaced real/a.txt: " in await bench.text("write_file", path="two/three", content="new\n")
    assert "Changed real/a.txt" in await bench.text("edit_file", path="real/three", old="new", new="newer")
    assert "newer\n" == (bench.root / "real/a.txt").read_text()
    assert (bench.root / "real/three").is_symlink()
    assert "Wrote real/fresh: " in await bench.text("write_file", path="one/fresh", content="")


async def test_links_that_never_end_are_refused(bench: Bench) -> None:
    """In a ring, to themselves, and links that double at each step."""
    (bench.root / "self").symlink_to("self")
    (bench.root / "ring").symlink_to("gnir")
    (bench.root / "gnir").symlink_to("ring")
    bench.put("l0/x", "")
    for step in range(30):
        (bench.root / f"l{step + 1}").symlink_to(f"l{step}/../l{step}")
    for path in ("self", "ring", "ring/x", "l30/x"):
        await refused_by_all(bench, path, "more than 20 links")


async def test_dangling_link_makes_its_target(bench: Bench) -> None:
    """Inside the workspace, as the system would; never outside."""
    (bench.root / "link").symlink_to("not-yet")
    assert "Wrote not-yet: " in await bench.text("write_file", path="link", content="x")
    (bench.root / "out").symlink_to("../outside/not-yet")
    assert "leads out" in await bench.refusal("write_file", path="out", content="x")
    assert not (bench.outside / "not-yet").exists()


@contextmanager
def special_files(root: Path) -> Iterator[list[str]]:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        names = ["pipe", "socket"]
        try:
            os.mknod(root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
        except PermissionError:  # only root makes devices
            pass
        else:
            names.append("device")
        yield names


async def test_what_is_no_regular_file_is_never_opened(bench: Bench) -> None:
    """A pipe would wait for ever, a device never ends; each is named for what it is."""
    with special_files(bench.root) as names, trio.fail_after(10):
        for name in names:
            await refused_by_all(bench, name, "expected a regular file", "is no directory")
        assert "No match" in await bench.text("search_files", pattern="x")
        assert set(names) <= set(bench.files())


@contextmanager
def in_turns(*acts: Callable[[], None]) -> Iterator[None]:
    """Do the acts again and again in a thread of its own, as fast as it goes."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for act in acts:
                act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def relink(path: Path, target: str) -> Callable[[], None]:
    """Put a link there in one step."""

    def act() -> None:
        new = path.with_name(f"{path.name}.new")
        new.symlink_to(target)
        new.rename(path)

    return act


async def test_link_that_is_swapped_during_the_call_leads_nowhere(bench: Bench) -> None:
    """From inside to outside and back, thousands of times: no call ever sees or writes what is outside."""
    bench.put("inside/secret.txt", "harmless\n")
    link = bench.root / "link"
    link.symlink_to("inside")
    with in_turns(relink(link, "../outside"), relink(link, "inside")):
        for _ in range(150):
            for tool in ("read_file", "write_file", "send_file"):
                result = await bench.attempt(tool, path="link/secret.txt", **TOOLS[tool])
                assert "link" in result if isinstance(result, str) else "the secret" not in repr(result)
    assert "the secret\n" == bench.secret.read_text()
    assert ["secret.txt"] == [entry.name for entry in bench.outside.iterdir()]


async def test_directory_that_is_swapped_for_a_link_leads_nowhere(bench: Bench) -> None:
    """Between the look at a name and its opening."""
    bench.put("real/secret.txt", "harmless\n")
    place, away = bench.root / "dir", bench.root / "away"
    (bench.root / "real").rename(place)

    def to_link() -> None:
        place.rename(away)
        place.symlink_to("../outside")

    def to_directory() -> None:
        place.unlink()
        away.rename(place)

    with in_turns(to_link, to_directory):
        for _ in range(300):
            result = await bench.attempt("read_file", path="dir/secret.txt")
            assert "dir" in result if isinstance(result, str) else "harmless" in result.text


async def test_file_that_changes_during_an_edit_is_left_alone(bench: Bench) -> None:
    """Whoever wrote meanwhile wins, and the call says so."""
    path = bench.put("a.txt", "one\n")
    workspace = Workspace(str(bench.root))
    data, info, _ = workspace.read("a.txt", 1_000)
    path.write_text("two\n")
    with pytest.raises(Refusal, match="changed by somebody else meanwhile; nothing was written"):
        workspace.write("a.txt", data + b"more", info)
    path.unlink()
    with pytest.raises(Refusal, match="changed by somebody else meanwhile; nothing was written"):
        workspace.write("a.txt", data + b"more", info)
    assert [] == bench.files()


async def test_file_that_is_replaced_again_and_again_is_edited_whole(bench: Bench) -> None:
    """A program writes beside the edits: each content that is seen is one that somebody wrote."""
    path = bench.put("a.txt", "state A\n")

    def replace() -> None:
        new = path.with_name("b.txt")
        new.write_text("state A\n")
        new.rename(path)

    with in_turns(replace):
        for _ in range(100):
            result = await bench.attempt("edit_file", path="a.txt", old="state A", new="state B")
            assert not isinstance(result, str) or "meanwhile" in result or "does not stand" in result
    assert path.read_text() in ("state A\n", "state B\n")
    assert [] == [name for name in bench.files() if name.startswith(".fairlead")]


async def test_names_of_others_are_shown_in_one_line(bench: Bench) -> None:
    """Line ends, escapes, bytes that are no UTF-8, and letters that turn the direction of a line."""
    names = ["a\nb/ (0 bytes)\nfake", "\x1b[2Jx", "\u202etxt.exe", "plain ü"]
    for name in names:
        (bench.root / name.replace("/", "")).touch()
    (bench.root / "\udcff\udcfe").touch()
    (bench.root / "to").symlink_to("x\ny")
    lines = (await bench.text("list_files")).split("\n")
    assert 6 == len(lines)
    assert all(line.isprintable() for line in lines)
    assert "plain ü (0 bytes)" in lines
    assert "to -> 'x\\ny'" in lines
    assert r"'\udcff\udcfe' (0 bytes)" in lines
    bench.put("q\nr.txt", "needle\n")
    assert r"'q\nr.txt':1: needle" == await bench.text("search_files", pattern="needle")


async def test_directories_without_end_are_walked_to_a_bound(bench: Bench) -> None:
    """Deeper than the path of any call could be, and than descriptors there are."""
    fd = os.open(bench.root, os.O_RDONLY)
    for _ in range(1_000):
        os.mkdir("d" * 20, dir_fd=fd)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("needle", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    try:
        before = descriptors()
        words = "directories deeper than 40 levels: 1"
        assert words in await bench.text("list_files", pattern="needle")
        assert words in await bench.text("search_files", pattern="needle")
        assert before == descriptors()
    finally:
        await bench.text("shell", command="rm -rf dddddddddddddddddddd")
    assert [] == bench.files()


async def test_wide_directory_is_listed_to_a_bound(bench: Bench) -> None:
    """The rest is said, and takes no memory."""
    for number in range(20_050):
        os.close(os.open(bench.root / str(number), os.O_CREAT | os.O_WRONLY))
    limits = Limits()
    with Workspace(str(bench.root)).locate(".") as place:
        assert 20_000 == len(list(walk(place, limits)))
    assert ["directories with more than 20,000 entries, of which not all were looked at: 1"] == limits.words()


async def test_directory_that_may_not_be_read_is_said(bench: Bench) -> None:
    """Beside what could be (root may read everything, so nothing is left out for it)."""
    bench.put("open/a.txt", "needle")
    bench.put("closed/b.txt", "needle").parent.chmod(0)
    try:
        text = await bench.text("search_files", pattern="needle")
    finally:
        (bench.root / "closed").chmod(0o755)
    assert "open/a.txt:1: needle" in text
    assert os.geteuid() == 0 or "directories not permitted or gone: 1" in text


async def test_no_descriptor_is_left_by_any_end(bench: Bench) -> None:
    """After success and after every kind of refusal."""
    bench.put("a/b.txt", "x")
    (bench.root / "out").symlink_to("/etc/passwd")
    before = descriptors()
    for path in ("a/b.txt", "a", "a/../..", "out", "a/b.txt/c", "gone/x", "a/../a/./b.txt", "/etc", "a\0"):
        for tool, more in TOOLS.items():
            await bench.attempt(tool, path=path, **more)
    assert before == descriptors()


parts = st.sampled_from(
    ["a", "b", "..", ".", "", "link", "up", "abs", "x" * 300, "ü", "~", "-rf", "*", " ", "\\..", "%2e"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(parts, min_size=1, max_size=12).map("/".join) | st.text(min_size=1, max_size=50))
def test_any_path_stays_inside_or_is_refused(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    """Whatever a model writes: the place is below the workspace, or there is a refusal in one line."""
    root = tmp_path_factory.getbasetemp() / "paths"
    if not root.exists():
        (root / "work/a/b").mkdir(parents=True)
        (root / "work/link").symlink_to("a/b")
        (root / "work/a/up").symlink_to("../..")
        (root / "work/b").symlink_to("/etc")
        (root / "work/abs").symlink_to(root / "work/a")
    try:
        with Workspace(str(root / "work")).locate(path) as place:
            real = os.path.realpath(f"/proc/self/fd/{place.parent}")
            assert real == str(root / "work") or real.startswith(f"{root}/work/")
            assert place.name not in ("..", ".", "/")
            problem = ""
    except Refusal as refusal:
        problem = refusal.problem
    assert not problem or problem.isprintable()


@pytest.mark.parametrize(("name", "shown"), [("a b", "a b"), ("ü", "ü"), ("a\nb", r"'a\nb'"), ("\udcff", r"'\udcff'")])
def test_names_are_shown(name: str, shown: str) -> None:
    """As they are where that is one line."""
    assert shown == show(name)
