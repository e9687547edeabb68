"""The machine's own package sources, as far as they are its distribution's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["own_sources", "own_suite"]

ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")
SIGNED = re.compile(r"signed-by=(\S+)")


def own_suite(os_release: Path = Path("/etc/os-release")) -> str:
    """The codename of the release: ``bookworm``; empty where the machine is no Debian or child of it."""
    try:
        lines = os_release.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("VERSION_CODENAME", "").strip('"')


def own_sources(suite: str, etc: Path = Path("/etc/apt")) -> str:
    """The sources of the release and its updates, as deb822 text (sources.list(5)); empty where there are none.

    Sources of third parties are left out: their suites have other names.
    """
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    stanzas: list[str] = []
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        found = _stanzas(text) if file.suffix == ".sources" else _lines(text) if file.suffix == ".list" else ()
        stanzas += [_render(stanza) for stanza in found if _is_own(stanza, suite)]
    return "\n\n".join(stanzas) + "\n" if stanzas else ""


def _is_own(stanza: dict[str, str], suite: str) -> bool:
    suites = stanza.get("suites", "").split()
    own = {suite, *(f"{suite}{ending}" for ending in ("-updates", "-security", "-proposed-updates", "/updates"))}
    return (
        "deb" in stanza.get("types", "").split()
        and stanza.get("enabled", "yes").lower() not in ("no", "false", "0")
        and bool(suites)
        and set(suites) <= own
    )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n\s*\n", text):
        stanza: dict[str, str] = {}
        last = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and last:
                stanza[last] += f"\n{line}"
                continue
            name, colon, value = line.partition(":")
            if colon:
                last = name.strip().lower()
                stanza[last] = value.strip()
        if stanza:
            yield stanza


def _lines(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if match := ONE_LINE.fullmatch(line.partition("#")[0].strip()):
            signed = SIGNED.search(match["options"] or "")
            yield {
                "types": "deb",
                "uris": match["uri"],
                "suites": match["suite"],
                "components": match["components"],
                **({"signed-by": signed[1]} if signed else {}),
            }


def _render(stanza: dict[str, str]) -> str:
    kept = ("uris", "suites", "components", "signed-by")
    return "\n".join(["Types: deb", *(f"{name.title()}: {stanza[name]}" for name in kept if name in stanza)])
