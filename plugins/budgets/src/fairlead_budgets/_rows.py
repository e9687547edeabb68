"""What a query gives, as the values that the tables promise (they are STRICT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

__all__ = ["rows", "value"]


def rows(connection: apsw.Connection, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """All rows, each a tuple."""
    return connection.execute(statement, tuple(parameters)).fetchall()


def value(connection: apsw.Connection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """The first column of the first row; None where there is none."""
    return connection.execute(statement, tuple(parameters)).get
