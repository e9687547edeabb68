"""Every hook is documented in the one fixed form, with its exact arguments."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from fairlead import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ["When", "Returns", "Results", "Parameters", "Implemented by", "Since"]
HOOKS = [
    pytest.param(hook, id=name)
    for name, hook in vars(hookspecs).items()
    if inspect.isfunction(hook) and hasattr(hook, "fairlead_spec")
]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_the_parts_of_its_form(hook: Callable[..., Any]) -> None:
    """When it is called, what it returns, which results count, parameters, who may implement it, since when."""
    assert PARTS == re.findall(r"^([A-Z][a-z ]+): ", inspect.getdoc(hook) or "", re.MULTILINE)


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_documents_its_exact_parameters(hook: Callable[..., Any]) -> None:
    """Each parameter is named in the part on parameters, and nothing else is."""
    text = re.search(r"^Parameters: (.*?)^[A-Z]", inspect.getdoc(hook) or "", re.MULTILINE | re.DOTALL)
    assert text
    assert list(inspect.signature(hook).parameters) == re.findall(r"\*(\w+)\*", text[1])


def test_hooks_are_public() -> None:
    """A hook that is not listed cannot be implemented."""
    assert {param.id for param in HOOKS} <= set(hookspecs.__all__)
