"""Every hook is documented with its exact arguments, and implemented by plugins that run."""

from __future__ import annotations

import inspect
import re

import pytest

from fairlead import hookspecs

from ..house.checkout import ROOT
from .blocks import DOCS
from .used_hooks import implementers

HOOKS = sorted(name for name in hookspecs.__all__ if name.startswith("fairlead_"))
every_hook = pytest.mark.parametrize("hook", HOOKS)


def section(hook: str) -> str:
    """What the reference says of it."""
    text = (DOCS / "reference" / "hooks.md").read_text("utf-8")
    _, found, rest = text.partition(f"\n## {hook}\n")
    assert found, f"docs/reference/hooks.md has no section {hook}"
    return rest.partition("\n## ")[0]


@every_hook
def test_hook_is_documented_with_its_exact_arguments(hook: str) -> None:
    """Names, order, types and result in the definition; and a word on each parameter."""
    signature = inspect.signature(getattr(hookspecs, hook))
    shown = re.search(r"```text\n(.+?)\n```", section(hook), re.DOTALL)
    assert shown, f"{hook} has no definition"
    assert f"{hook}{signature}".replace("'", "") == shown[1]
    (explained,) = re.findall(r"^- \*\*Parameters\*\*: (.+)$", section(hook), re.MULTILINE)
    assert list(signature.parameters) == re.findall(r"\*(\w+)\*:", explained)


@every_hook
def test_hook_has_the_fixed_parts(hook: str) -> None:
    """When it is called, what it gives, how results are taken together, who may implement it, since when."""
    parts = re.findall(r"^- \*\*([\w ]+)\*\*: \S", section(hook), re.MULTILINE)
    assert ["When", "Returns", "Results", "Parameters", "Implemented by", "Since"] == parts[:6]


@every_hook
def test_hook_is_used_by_plugins_of_this_repository(hook: str) -> None:
    """The section names each file that implements it."""
    files = implementers().get(hook, [])
    named = re.findall(r"`(plugins/[\w/.]+)`", section(hook))
    assert sorted(files) == sorted(named)
    assert all((ROOT / name).is_file() for name in files)
    assert files, f"no plugin implements {hook}"
