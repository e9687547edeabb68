"""A contract for import-linter, which has none of this kind: the only third parties that a package may import.

Named in ``[tool.importlinter] contract_types``; `lint-imports` finds it because it is started in the checkout.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Graph(Protocol):
    """What this contract needs of `grimp.ImportGraph`."""

    @property
    def modules(self) -> AbstractSet[str]: ...

    def find_modules_directly_imported_by(self, module: str) -> AbstractSet[str]: ...


class ThirdPartiesContract(Contract):
    """The `packages` import the standard library without `never`, and `allowed`.

    Each import of `except_imports` (``importer -> imported``) is let through; one that no longer exists is refused.
    """

    type_name = "third_parties"

    packages = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())
    never = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    except_imports = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: Graph, verbose: bool) -> ContractCheck:  # noqa: FBT001  # import-linter's signature
        own: list[str] = self.packages  # type: ignore[assignment]  # a field's class attribute becomes its value
        known = (set(sys.stdlib_module_names) - set(self.never)) | set(self.allowed) | set(own)  # type: ignore[call-overload]  # the same
        found = {
            f"{module} -> {imported}"
            for module in graph.modules
            if module.partition(".")[0] in own
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.partition(".")[0] not in known
        }
        excepted = set(self.except_imports)  # type: ignore[call-overload]  # the same
        wrong, stale = sorted(found - excepted), sorted(excepted - found)
        return ContractCheck(kept=not (wrong or stale), metadata={"wrong": wrong, "stale": stale})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["wrong"]:
            output.print_error(f"{line} is not among the third parties that this contract allows.")
        for line in check.metadata["stale"]:
            output.print_error(f"{line} is excepted and no longer imported: take it out of except_imports.")
