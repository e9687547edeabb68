"""Approvals on the path: who is asked, who may decide, what is approved, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve

import fairlead
from fairlead import Capabilities, Data, Principal, Text, ToolCall, Verdict, errors, events
from fairlead.config import Config, LaneLimits, Limits
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, WallClock, calls

from .asking import ADMIN, OPERATOR, SESSION, House, careful, decisions, happened, id_in, revising, text_in
from .served import serving


async def test_call_waits_and_runs_once_it_is_approved(autojump_clock: object) -> None:
    """The question says what will run; the answer comes as if nobody had been asked."""
    house = House()
    async with house.serving() as app:
        await house.channel.say("pay Ann", external_id="e1")
        question = await house.channel.next()
        assert ("notice", "e1", SESSION) == (question.kind, question.in_reply_to, question.session)
        assert '"to": "Ann"' in text_in(question)
        assert [] == house.tool.calls
        receipt = await house.channel.say(f"/approve {id_in(question)}")
        assert ("accepted", "", f"act is approved ({id_in(question)}).") == (
            receipt.status,
            receipt.message,
            receipt.notice,
        )
        assert "done: done" == await house.answer()
        assert [(True, "captured:alice", "")] == await decisions(app)
        used, returned = await happened(app, events.ApprovalUsed), await happened(app, events.ToolReturned)
    assert [id_in(question)] == [each.id for each in used]
    assert [""] == [each.result.error for each in returned]
    assert [house.arguments] == [call.arguments for call in house.tool.calls]


async def test_denied_call_is_not_made_and_says_who_and_why(autojump_clock: object) -> None:
    """To the model, which tells the person."""
    house = House()
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        await house.channel.say(f"/deny {await house.asked()} it is too much")
        assert "denied: captured:alice did not approve this call: it is too much" == await house.answer()
        assert [(False, "captured:alice", "it is too much")] == await decisions(app)
    assert [] == house.tool.calls


async def test_data_of_a_program_decides_as_words_do(autojump_clock: object) -> None:
    """What a channel that takes JSON gets with the question, and what it sends back."""
    house = House()
    house.channel = CapturingChannel(capabilities=Capabilities(media=frozenset({"application/json"})))
    async with house.serving():
        await house.channel.say("pay Ann")
        question = await house.channel.next()
        (data,) = [part.value for part in question.parts if isinstance(part, Data)]
        assert {"approval", "tool", "digest", "expires", "decisions"} == set(data)
        await house.channel.say([Data({"approval": data["approval"], "decision": "allow"})])
        assert "done: done" == await house.answer()


async def test_nobody_in_time_is_a_denial_told_to_the_model_and_to_the_person(autojump_clock: object) -> None:
    """After `limits.approval_seconds`; a tap that comes later changes nothing."""
    house = House(approval_seconds=60.0)
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name, began = await house.asked(), trio.current_time()
        assert f"Nobody approved act in time ({name}); it was denied." == await house.answer()
        assert "denied: Nobody approved this call within 60 s, so it was not made." == await house.answer()
        assert 60 == pytest.approx(trio.current_time() - began, abs=1)
        late = await house.channel.say(f"/approve {name}")
        assert f"approval {name!r} was already decided: denied as its time is over" == late.notice
        assert [(False, "", "expired")] == await decisions(app)
    assert [] == house.tool.calls


async def test_time_that_people_take_is_not_the_turns(autojump_clock: object) -> None:
    """A turn may take 10 s here, and somebody thinks for 500."""
    house = House(seconds=10.0)
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
        await trio.sleep(500)
        await house.channel.say(f"/approve {name}")
        assert "done: done" == await house.answer()


async def test_double_tap_is_one_decision(autojump_clock: object) -> None:
    """At the same moment, too: the first one counts, and the second one is told so."""
    house = House()
    receipts: list[fairlead.Receipt] = []
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name = await house.asked()

        async def tap(words: str) -> None:
            receipts.append(await house.channel.say(f"/{words} {name}"))

        async with trio.open_nursery() as nursery:
            for words in ("approve", "deny", "approve"):
                nursery.start_soon(tap, words)
        await house.answer()
        assert 1 == len(await decisions(app))
    assert ["accepted", "refused", "refused"] == sorted(each.status for each in receipts)
    assert all("was already decided" in each.notice for each in receipts if each.status == "refused")
    assert len(house.tool.calls) <= 1


async def test_only_the_person_whose_turn_it_is_may_approve(autojump_clock: object) -> None:
    """Where the rule names nobody; others hear that clearly, and nothing has changed."""
    house = House()
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name = await house.asked()
        other = await house.channel.say(f"/approve {name}", author="mallory")
        assert ("refused", f"approval {name!r} is not yours to decide; nothing has changed") == (
            other.status,
            other.notice,
        )
        assert [] == await decisions(app)
        await house.channel.say(f"/approve {name}")
        assert "done: done" == await house.answer()


@pytest.mark.parametrize("approver", ["role:admin", "captured:root"])
async def test_only_whom_the_rule_names_may_approve(approver: str, autojump_clock: object) -> None:
    """By role or by id, from any conversation; who asked may say no to the own call, and not yes."""
    house = House(policies=[careful(approver)])
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name = await house.asked()
        for liar in (Principal("captured:mallory", "root"), Principal("role:admin"), Principal("captured:alice")):
            assert "refused" == (await house.channel.say(f"/approve {name}", author=liar)).status
        await house.channel.say(f"/approve {name.upper()}", author=ADMIN, conversation="elsewhere")
        assert "done: done" == await house.answer()
        assert [(True, "captured:root", "")] == await decisions(app)
        await house.channel.say("pay Ann")
        await house.channel.say(f"/deny {await house.asked()}")
        assert "denied: captured:alice did not approve this call." == await house.answer()


async def test_who_must_not_talk_must_not_approve(autojump_clock: object) -> None:
    """A decision is a message of that person, and policies see it like any other."""
    silent = FakePolicy(
        lambda review: Verdict("deny", "stranger", reason="get a code") if review.principal == ADMIN else None,
        ["message_in"],
    )
    house = House(policies=[careful("role:admin"), silent])
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        refused = await house.channel.say(f"/approve {await house.asked()}", author=ADMIN)
        assert ("refused", "This was refused by 'stranger': get a code") == (refused.status, refused.notice)
        assert [] == await decisions(app)
        assert await house.channel.cancel()


async def test_unknown_id_changes_nothing_and_reaches_no_model(autojump_clock: object) -> None:
    """Nor does it wait in the lane."""
    house = House()
    async with house.serving():
        refused = await house.channel.say("/approve abcdefghijkmnp")
        assert ("refused", "there is no approval 'abcdefghijkmnp'") == (refused.status, refused.notice)
    assert 0 == house.provider.answered


async def test_other_words_are_no_decision(autojump_clock: object) -> None:
    """They are messages, which wait for their turn."""
    house = House()
    async with house.serving():
        for words in ("yes", "approve it", "please /approve abc", "/approved abc", "/approve", "/approve a b! c d"):
            receipt = await house.channel.say(words, conversation=words)
            expected = "refused" if words.startswith("/approve a") else "accepted"
            assert (words, expected) == (words, receipt.status)


async def test_cancelled_turn_takes_its_approval_along(autojump_clock: object) -> None:
    """It is void, whoever taps."""
    house = House()
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
        assert await house.channel.cancel()
        assert "The turn was cancelled." == await house.answer()
        late = await house.channel.say(f"/approve {name}")
        assert f"approval {name!r} is void: its turn has ended" == late.notice
    assert [] == house.tool.calls


async def test_host_decides_and_lists(autojump_clock: object) -> None:
    """`App.ask` waits; what the host says of who decides is believed."""
    tool = CountingTool("act", "done", parameters={"type": "object"})
    provider = ScriptedProvider([calls(("act", {"a": 1})), "fine"])
    replies: list[str] = []
    async with fairlead.open(
        providers=[provider], tools=[tool], policies=[careful("role:admin")], clock=WallClock()
    ) as app:

        async def ask() -> None:
            replies.append((await app.ask("go", session="s")).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            (record,) = await app.approvals()
            assert isinstance(record.event, events.ApprovalRequested)
            assert ("s", "act", {"a": 1}) == (record.session, record.event.tool, record.event.arguments)
            request = await app.decide(record.event.id, allow=True, by=OPERATOR, reason="fine by me")
            assert record.event == request
        with pytest.raises(errors.ApprovalRefused, match="approved by cli:operator"):
            await app.decide(request.id, allow=False, by=OPERATOR)
        assert ([], ["fine"]) == (list(await app.approvals()), replies)
        (decided,) = await happened(app, events.ApprovalDecided, "s")
    assert ("host", "fine by me") == (decided.where, decided.reason)


async def test_turn_that_waits_gives_its_place_to_others(autojump_clock: object) -> None:
    """One place for all: somebody else is served, and the one that waited goes on after that."""
    house = House()
    config = Config(lanes=LaneLimits(interactive=1, total=1))

    def answer(request: fairlead.ModelRequest) -> Any:
        if request.session.endswith("room"):
            return house.answer_model(request)
        return "at once"

    workers: dict[str, Any] = {"tools": [house.tool], "channels": [house.channel], "policies": house.policies}
    async with serving(config, providers=[ScriptedProvider([answer], repeat=True)], clock=WallClock(), **workers):
        await house.channel.say("pay Ann")
        name = await house.asked()
        await house.channel.say("hello", conversation="other")
        assert "at once" == await house.answer()
        await house.channel.say("and then?")  # keeps its order behind the turn that waits
        await house.channel.say(f"/approve {name}")
        assert "done: done" == await house.answer()
        await house.asked()


async def test_all_calls_of_an_answer_wait_for_the_questions_about_some(autojump_clock: object) -> None:
    """They run once the last question is decided; the denied one does not."""
    asking = FakePolicy(
        lambda review: Verdict("ask" if review.subject.arguments["n"] else "allow", "r"),  # type: ignore[union-attr]  # a ToolCall
        ["tool_call"],
    )
    house = House(policies=[asking])
    wanted = [("act", {"n": number}) for number in range(3)]
    house.wanted = lambda: calls(*wanted)  # type: ignore[method-assign]  # three at once
    async with house.serving() as app:
        await house.channel.say("go")
        first, second = await house.asked(), await house.asked()
        await house.channel.say(f"/deny {second}")
        assert [] == house.tool.calls
        await house.channel.say(f"/approve {first}")
        await house.channel.next()
        results = await happened(app, events.ToolReturned)
    assert [0, 1] == sorted(call.arguments["n"] for call in house.tool.calls)
    assert ["", "", "denied"] == sorted(each.result.error for each in results)


async def test_revision_below_the_question_is_what_is_shown_and_runs(autojump_clock: object) -> None:
    """An approval takes nothing from the other policies: what is asked for is what they left of the call."""
    house = House(policies=[careful(), revising(amount=1)])
    async with house.serving():
        await house.channel.say("pay Ann")
        question = await house.channel.next()
        assert '"amount": 1' in text_in(question)
        await house.channel.say(f"/approve {id_in(question)}")
        await house.answer()
    assert [{"to": "Ann", "amount": 1}] == [call.arguments for call in house.tool.calls]


@pytest.mark.parametrize("changed", ["arguments", "image", "level", "spec"])
async def test_approval_of_something_else_is_void(changed: str, autojump_clock: object) -> None:
    """What would run is looked at again before it runs; if it changed, it is not run and asked for anew."""
    house = House()
    revision = revising(amount=1)
    house.policies = [careful(), revision]
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name = await house.asked()
        if changed == "arguments":
            revision.changes["amount"] = 1000  # type: ignore[attr-defined]  # of `revising`
        elif changed == "spec":
            entry = app._desk.engine.tools.find("act")  # noqa: SLF001  # nothing public changes a tool that is in use
            assert entry is not None
            entry.spec = evolve(entry.spec, description="another version")
        else:
            house.tool.level, house.tool.distribution = ("process" if changed == "level" else "host"), "act 2.0"
        await house.channel.say(f"/approve {name}")
        if changed == "spec":  # for the turn it is then no tool of the agent's
            assert "denied" in await house.answer()
        else:
            again = await house.asked()
            assert name != again
            assert [] == house.tool.calls
            assert [(True, "captured:alice", ""), (False, "", "changed")] == await decisions(app)
            await house.channel.say(f"/approve {again}")
            await house.answer()
    assert (0 if changed == "spec" else 1) == len(house.tool.calls)


async def test_policy_that_denies_meanwhile_is_heard(autojump_clock: object) -> None:
    """An approval answers the question, and no denial."""
    denies: list[Verdict] = []
    house = House(policies=[careful(), FakePolicy(lambda _: denies, ["tool_call"])])
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
        denies.append(Verdict("deny", "closed"))
        await house.channel.say(f"/approve {name}")
        assert "denied: Denied by rule 'closed' of layer 'app'." == await house.answer()
    assert [] == house.tool.calls


async def test_what_no_approval_could_grant_is_not_asked(autojump_clock: object) -> None:
    """An ask of a lower layer, about a tool that nobody allows."""
    lower = FakePolicy(lambda _: Verdict("ask", "lower", layer="person"), ["tool_call"])
    house = House(policies=[lower])
    tool = PluginTool(house.tool)
    async with fairlead.open(providers=[house.provider], policies=[lower], clock=house.clock) as app:
        app._desk.engine.tools.add(tool)  # noqa: SLF001  # a plugin's tool, without installing one
        assert "denied" in (await app.ask("go")).text


class PluginTool(fairlead.Tool):
    """A tool that the host did not hand in."""

    def __init__(self, tool: CountingTool) -> None:
        self.name, self._tool = "plugin", tool

    def specs(self) -> Any:
        return self._tool.specs()

    async def call(self, call: ToolCall, context: fairlead.ToolContext) -> Any:
        return await self._tool.call(call, context)


async def test_question_goes_to_the_turns_address_only(autojump_clock: object) -> None:
    """Whoever else may approve learns of it from people, or from `fairlead approvals list`."""
    house = House(policies=[careful("role:admin")])
    async with house.serving():
        await house.channel.say("pay Ann", conversation="room")
        question = await house.channel.next()
        assert house.channel.address("room") == question.address
        await house.channel.cancel("room")
    assert 2 == len(house.channel.sent)


async def test_stopping_app_does_not_wait_for_people(autojump_clock: object) -> None:
    """Their turns are left for the next process."""
    house = House(grace_seconds=500.0)
    async with house.serving():
        await house.channel.say("pay Ann")
        await house.asked()
        began = trio.current_time()
    assert trio.current_time() - began < 5


async def test_grant_that_comes_with_a_slow_policy_is_still_bound_to_its_time(autojump_clock: object) -> None:
    """Given in time and used too late: it is not used."""
    house = House(approval_seconds=60.0)
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
    await trio.sleep(30)
    async with fairlead.open(memories=[house.memory], clock=house.clock) as app:
        await app.decide(name, allow=True, by=OPERATOR)
    await trio.sleep(100)
    async with house.serving():
        assert "expired before it could be used" in await house.answer()
    assert [] == house.tool.calls


async def test_hostile_text_is_shown_harmlessly_and_whole(autojump_clock: object) -> None:
    """What a screen would obey, reorder or hide is spelled out; what is long is named by its digest."""
    house = House()
    nasty = "a\u202eb\x1b[2Jc\u200bd\u00ade\u2066f\u3164g```h\r\nsudo\U000e0041"
    house.arguments = {"text": nasty, "more": "x" * 5000}
    async with house.serving() as app:
        await house.channel.say("go")
        question = await house.channel.next()
        name = id_in(question)
        (request,) = await happened(app, events.ApprovalRequested)
        await house.channel.say(f"/deny {name}")
        await house.answer()
    text = request.shown
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not {"\u202e", "\x1b", "\u200b", "\u00ad", "\u2066", "\u3164"} & set(text)
    for spelled in (
        "\\u202e",
        "\\u001b[2J",
        "\\u200b",
        "\\u00ad",
        "\\u2066",
        "\\u3164",
        "\\r\\nsudo",
        "\\udb40\\udc41",
    ):
        assert spelled in text
    assert 2 == text.count("```")
    assert f"all of it: fairlead approvals show {name}" in text
    assert request.digest in text
    assert nasty == request.arguments["text"]


async def test_question_that_cannot_be_sent_is_still_a_question(autojump_clock: object) -> None:
    """The operator sees it in the list."""
    house = House()
    house.channel.fail_next(fairlead.Delivery("failed", reason="blocked"))
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        await trio.sleep(5)
        (record,) = await app.approvals()
        assert isinstance(record.event, events.ApprovalRequested)
        await app.decide(record.event.id, allow=True, by=OPERATOR)
        assert "done: done" == await house.answer()


def test_limits_have_a_default() -> None:
    """A quarter of an hour."""
    assert 900.0 == Limits().approval_seconds


def test_ids_cannot_be_guessed() -> None:
    """At least 60 bits, of letters."""
    from fairlead._approval_text import _LENGTH, _LETTERS, new_approval_id  # noqa: PLC0415  # only here

    assert len(_LETTERS) ** _LENGTH > 2**60
    made = {new_approval_id() for _ in range(1000)}
    assert 1000 == len(made)
    assert all(each.islower() and each.isalpha() for each in made)


async def test_text_and_data_beside_each_other_are_a_message() -> None:
    """Only what is exactly a decision is one."""
    from fairlead._approval_text import read_choice  # noqa: PLC0415  # only here

    assert None is read_choice((Text("/approve abc"), Text("and more")))
    assert None is read_choice((Data({"approval": 1, "decision": "allow"}),))
    assert None is read_choice((Data({"approval": "abc", "decision": ["allow"]}),))
    assert None is read_choice((Data(["approval"]),))
    found = read_choice((Text("/deny@bot ABC because\nof it "),))
    assert found is not None
    assert ("abc", False, "because\nof it") == (found.id, found.granted, found.reason)
