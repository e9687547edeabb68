"""Runs a program as a cell of a notebook: the value of a last expression is shown. A program of its own.

The code comes on the standard input, which the program then finds empty. It is run as ``__main__`` of an interpreter
that has seen nothing but this file, and its tracebacks show its own lines.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
import traceback
import types
from io import TextIOWrapper

__all__ = ["main"]

NAME = "<python>"
"""What stands in tracebacks for a file."""


def main() -> None:
    """Run what comes on the standard input. Exit status 1 after an exception, as Python itself has it."""
    source = sys.stdin.buffer.read().decode("utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # by lines, so that the two streams stay in their order
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    linecache.cache[NAME] = (len(source), None, source.splitlines(keepends=True), NAME)
    sys.argv[:] = [NAME]
    sys.path.append(os.getcwd())  # noqa: PTH109  # last, so that no file of the workspace stands before the library's
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        _run(source, vars(module))
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever the program raises is its result
        # The frames before its first line are no part of the story; a syntax error has no others.
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != NAME:
            frames = frames.tb_next
        traceback.print_exception(type(error), error.with_traceback(frames), frames)
        sys.exit(1)


def _run(source: str, names: dict[str, object]) -> None:
    tree = ast.parse(source, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    # Not inherited: the `annotations` of this file's first line is none of the program's business.
    exec(compile(tree, NAME, "exec", dont_inherit=True), names)  # noqa: S102  # it is what this file is for
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), NAME, "eval", dont_inherit=True), names)  # noqa: S307  # as above
        if value is not None:
            sys.stdout.write(f"{value!r}\n")


if __name__ == "__main__":
    main()
