"""A wheel from outside is looked through before anything unpacks it."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments._wheel import examine_wheel

from .packages import entry_points, plugin_files, wheel

Entries = dict[str, bytes]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return wheel(tmp_path, "acme-dice", plugin_files("acme_dice"), entry_points=entry_points("dice", "acme_dice"))


def rewrite(path: Path, change: Callable[[Entries], object], *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """The same wheel with other entries."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for info, content in more:
            archive.writestr(info, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(PluginLoadError) as raised:
        examine_wheel(path)
    assert raised.value.next_step
    return raised.value.problem


def test_whole_wheel_is_what_it_says(whole: Path) -> None:
    """Its metadata can be read while it is packed."""
    found = examine_wheel(whole)
    assert ("acme-dice", "1.0") == (found.name, found.version)
    assert ["dice"] == [point.name for point in found.distribution.entry_points]
    assert found.root.joinpath("acme_dice", "fairlead-plugin.json").is_file()


@pytest.mark.parametrize(
    "name", ["../evil.py", "acme_dice/../../evil.py", "/etc/evil", "..\\evil.py", "C:evil.py", "acme_dice/.."]
)
def test_path_that_leads_elsewhere_is_refused(whole: Path, name: str) -> None:
    """Upwards, absolute, or as another system writes it."""
    path = rewrite(whole, lambda entries: entries.update({name: b"x = 1\n"}))
    assert "would write outside of its directory" in refused(path)


def test_link_and_device_are_refused(whole: Path) -> None:
    """An archive can hold more than files."""
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        info = zipfile.ZipInfo("acme_dice/link.py")
        info.external_attr = (kind | 0o777) << 16
        assert "holds what is no file" in refused(rewrite(whole, lambda _: None, (info, b"/etc/passwd")))
        rewrite(whole, lambda entries: entries.pop("acme_dice/link.py"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_name_that_is_there_twice_is_refused(whole: Path) -> None:
    """Who reads it and who unpacks it could see two different files."""
    path = rewrite(whole, lambda _: None, (zipfile.ZipInfo("acme_dice/plugin.py"), b"x = 2\n"))
    assert "holds 'acme_dice/plugin.py' twice" in refused(path)


def test_file_that_is_not_what_the_record_says_is_refused(whole: Path) -> None:
    """Changed, unlisted, missing; or without a hash that means something."""
    record = "acme_dice-1.0.dist-info/RECORD"
    content = whole.read_bytes()

    def weaken(entries: Entries) -> None:
        lines = [line.split(",")[0] + ",md5=x," for line in entries[record].decode().splitlines()]
        entries[record] = "\n".join(lines).encode()

    cases: dict[str, Callable[[Entries], object]] = {
        "holds another 'acme_dice/plugin.py'": lambda entries: entries.update({"acme_dice/plugin.py": b"x = 2\n"}),
        "differs from its own record: 'acme_dice/more.py'": lambda entries: entries.update({"acme_dice/more.py": b""}),
        "differs from its own record: 'acme_dice/plugin.py'": lambda entries: entries.pop("acme_dice/plugin.py"),
        "cannot be read": lambda entries: entries.pop(record),
        "has no safe hash": weaken,
    }
    for words, change in cases.items():
        whole.write_bytes(content)
        assert words in refused(rewrite(whole, change))


def test_damaged_archive_is_refused(whole: Path) -> None:
    """Cut off, or with a bit that turned; never half used."""
    content = whole.read_bytes()
    place = content.index(b"acme_dice/plugin.py") + 24
    for damaged in (b"", content[:100], content[:-30], content[:place] + b"\xff\xff" + content[place + 2 :]):
        whole.write_bytes(damaged)
        assert "acme_dice-1.0-py3-none-any.whl" in refused(whole)


def test_other_name_inside_is_refused(whole: Path) -> None:
    """The file's name is what people look at."""
    other = whole.rename(whole.with_name("acme_cards-1.0-py3-none-any.whl"))
    assert "says that it is acme-dice 1.0" in refused(other)
    later = other.rename(whole.with_name("acme_dice-2.0-py3-none-any.whl"))
    assert "says that it is acme-dice 1.0" in refused(later)


def test_wheel_for_another_machine_is_refused(whole: Path) -> None:
    """Before it is installed and fails at its first import."""
    other = whole.rename(whole.with_name("acme_dice-1.0-cp39-cp39-win_arm64.whl"))
    assert "is for another Python or another kind of machine" in refused(other)


def test_archive_that_would_fill_the_disk_is_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it says of itself; a lie about that is damage."""
    monkeypatch.setattr("fairlead_sandbox.environments._wheel._MOST_BYTES", 100)
    assert "is larger than" in refused(whole)
