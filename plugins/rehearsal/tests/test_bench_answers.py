"""Programs, commands and files: which tools are called, and what is said of their results."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import fairlead
from fairlead import Message, ModelRequest, Text, ToolResult, ToolSpec
from fairlead.testing import Deltas
from fairlead_rehearsal import Rehearsal


def tool(name: str, required: Sequence[str] = (), optional: Sequence[str] = ()) -> ToolSpec:
    properties = {argument: {"type": "string"} for argument in (*required, *optional)}
    return ToolSpec(name, "A tool.", {"type": "object", "properties": properties, "required": list(required)})


TOOLS = (
    tool("calculate", ["expression"]),
    tool("recall", ["query"], ["limit"]),
    tool("python", ["code"], ["seconds"]),
    tool("shell", ["command"], ["seconds"]),
    tool("list_files", [], ["path", "pattern"]),
    tool("read_file", ["path"], ["start", "lines"]),
    tool("write_file", ["path", "content"]),
    tool("search_files", ["pattern"], ["path", "glob"]),
    tool("fetch", ["url"]),
)


async def answer(text: str, result: str, error: str = "", tools: Sequence[ToolSpec] = TOOLS) -> str:
    """The answer after the only call had this result."""
    said = Message("user", (Text(text),), id="m1")
    first = await Rehearsal().generate(ModelRequest("rehearsal", (said,), tools=tuple(tools)), Deltas())
    (call,) = first.calls
    history = (
        said,
        Message("assistant", (), calls=first.calls),
        ToolResult(call.id, call.tool, (Text(result),), error),
    )
    last = await Rehearsal().generate(ModelRequest("rehearsal", history, tools=tuple(tools)), Deltas())
    return Message("assistant", last.parts).text


ANSWERS = [
    ("use python to compute the 1000th prime", "7919", "The 1000th prime is 7919."),
    ("use python to find the primes below 8", "[2, 3, 5, 7]", "The primes below 8 are 2, 3, 5, 7."),
    ("use python to compute 2**10", "1024", "2**10 = 1024."),
    ("use python to sort 2, 1", "[1, 2]", "Sort 2, 1: [1, 2]."),
    (
        "use python to compute 1 / 0",
        "Traceback...\nZeroDivisionError: division by zero\n[exit status 1]",
        'The program for "1 / 0" says:\nTraceback...\nZeroDivisionError: division by zero\n[exit status 1]',
    ),
    ("use python to compute 1 / 0", "[ended by signal 9]", 'The program for "1 / 0" says:\n[ended by signal 9]'),
    ("run python: print(1)", "1", "python: 1"),
    ("run `ls`", "a.txt\nb.txt", "shell:\na.txt\nb.txt"),
    ("list the files", "a.txt (1 byte)\nb/", "a.txt (1 byte)\nb/"),
    ("read a.txt", "     1\twords", "1\twords"),
    ("write a.txt: words", "Wrote a.txt: 1 line, 5 bytes.", "Wrote a.txt: 1 line, 5 bytes."),
    ("search the files for x", "a.txt:1: x", "a.txt:1: x"),
    ("fetch https://example.org/", "A page.", "A page."),
]


@pytest.mark.parametrize(("text", "result", "expected"), ANSWERS)
async def test_result_is_said(text: str, result: str, expected: str) -> None:
    """Values in a sentence; what a program or a file says as it is."""
    assert expected == await answer(text, result)


@pytest.mark.parametrize(
    ("error", "detail", "said"),
    [
        (
            "isolation",
            "no engine.\n  next: systemctl start docker",
            "python was not run for {}: it cannot be isolated here",
        ),
        ("isolation", "not run. Next: fairlead sandbox build", "python was not run for {}: it cannot be isolated here"),
        ("denied", "no rule allows this tool.", "I was not allowed to use python for {}"),
        ("denied", "denied by rules. Next: fairlead policy explain python", "I was not allowed to use python for {}"),
        ("timeout", "[stopped after 1 s].", "python took too long for {}"),
    ],
)
async def test_failure_keeps_the_words_of_the_tool(error: str, detail: str, said: str) -> None:
    """And the command that helps, as it is to be typed, on a line of its own."""
    told = detail.replace(" Next: ", "\n  next: ")
    expected = f"{said.format(chr(34) + 'the 1000th prime' + chr(34))}: {told}"
    assert expected == await answer("use python to compute the 1000th prime", detail, error)


async def test_long_code_is_not_repeated_in_a_failure() -> None:
    """Its first line stands for it."""
    text = await answer("run python:\nimport os\nos.abort()", "no rule allows this tool", "denied")
    assert 'I was not allowed to use python for "import os ...": no rule allows this tool.' == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("use python to compute the 1000th prime", 'No tool for Python is offered to me, so "the 1000th prime" stays'),
        ("run `ls`", 'No tool for commands is offered to me, so "ls" stays open; offered: calculate.'),
        ("fetch https://example.org/", "No tool for pages of the web is offered to me"),
        ("use python to compute the meaning of life", "I am Fairlead's rehearsal model: no language model"),
    ],
)
async def test_what_is_missing_is_said(text: str, words: str) -> None:
    """Nothing is computed here, and no other tool is taken for it."""
    request = ModelRequest("rehearsal", (Message("user", (Text(text),)),), tools=TOOLS[:1])
    reply = await Rehearsal().generate(request, Deltas())
    assert () == reply.calls
    assert Message("assistant", reply.parts).text.startswith(words)


async def test_tools_of_others_are_found() -> None:
    """By names that gateways and other packages give them."""
    for name in ("bash", "local_shell", "run_command"):
        assert f"{name}: a" == await answer("run `ls`", "a", tools=(tool(name, ["command"]),))
    assert "The 1000th prime is 7919." == await answer(
        "use python to compute the 1000th prime", "7919", tools=(tool("python_exec", ["source"]),)
    )


async def test_value_is_of_the_wanted_type() -> None:
    """The program's result, where a schema is asked for."""

    def python(code: str) -> str:
        """Run Python code.

        code: the program
        """
        return "7919" if "first(1000)[-1]" in code else "?"

    async with fairlead.open(providers=[Rehearsal()], tools=[python]) as app:
        assert 7919 == await app.ask("use python to compute the 1000th prime", returns=int)
