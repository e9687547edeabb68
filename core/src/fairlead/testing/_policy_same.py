"""What a policy promises of its decisions: the same review gives the same verdicts, and less never gives more."""

from __future__ import annotations

import copy
import inspect
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Policy
from fairlead._message import Message, ToolCall, new_id
from fairlead._work import Boundary, ModelRequest, Review, Verdict
from fairlead.testing._policy_base import IMPORTABLE, REVIEW, STRENGTH, PolicyBase, core_of
from fairlead.testing._policy_reviews import of_any_arguments, of_anybody
from fairlead.testing._worker_kit import needs, promise, same, within

__all__ = ["DecisionChecks"]

ALIKE = "the same review gives the same verdicts"
NARROWS = "fairlead.Policy"
CHILD = "FAIRLEAD_KIT_VERDICTS"
"""Set in another process: where it writes its verdicts, and the directory of the worker."""
PROCESS_SECONDS = 60
TIMES = 100


class DecisionChecks(PolicyBase):
    """Determinism and monotony."""

    async def test_same_review_gives_the_same_verdicts(self, tmp_path: Path) -> None:
        """Asked again in the other order, several at a time, by another instance; and the subject is left alone."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as policy:
                reviews = await self.asked(policy)
                before = copy.deepcopy(reviews)
                first = [tuple(await policy.review(review)) for review in reviews]
                second = [tuple(await policy.review(review)) for review in reversed(reviews)][::-1]
                together: dict[int, tuple[Verdict, ...]] = {}

                async def ask(place: int) -> None:
                    together[place] = tuple(await policy.review(reviews[place]))

                async with trio.open_nursery() as nursery:
                    for place in range(len(reviews)):
                        nursery.start_soon(ask, place)
            async with self.worker(tmp_path) as another:
                third = [tuple(await another.review(review)) for review in reviews]
        for seen in (second, third, [together[place] for place in range(len(reviews))]):
            same(first, seen, ALIKE, REVIEW)
        same(before, reviews, "a policy leaves the subject alone", REVIEW)

    async def test_equal_review_gives_the_same_verdicts(self, tmp_path: Path) -> None:
        """It decides on what a review says, and not on which object it is."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                first = tuple(await policy.review(review))
                same(first, tuple(await policy.review(copy.deepcopy(review))), ALIKE, REVIEW)

    async def test_order_of_reviews_does_not_matter(self, tmp_path: Path) -> None:
        """Sessions go on side by side: what others ask comes in any order between."""
        async with self.opened(tmp_path) as policy:
            reviews = await self.asked(policy)
            first = [core_of(await policy.review(review)) for review in reviews]
            for seed in range(3):
                order = list(range(len(reviews)))
                random.Random(seed).shuffle(order)  # noqa: S311  # a seed, so that a failure can be repeated
                seen = {place: core_of(await policy.review(reviews[place])) for place in order}
                same(first, [seen[place] for place in range(len(reviews))], f"{ALIKE}, in any order", REVIEW)

    async def test_number_of_reviews_does_not_matter(self, tmp_path: Path) -> None:
        """The hundredth time is as the first."""
        async with self.opened(tmp_path) as policy:
            for boundary in sorted(policy.boundaries):
                review = next((one for one in await self.reviews() if one.boundary == boundary), None)
                if review is None:
                    continue  # another check says so
                seen = [core_of(await policy.review(review)) for _ in range(TIMES)]
                same([seen[0]] * TIMES, seen, f"{ALIKE}, each time", REVIEW)

    async def test_many_at_once_decide_alike(self, tmp_path: Path) -> None:
        """No review reads what another one has put somewhere."""
        async with self.opened(tmp_path) as policy:
            reviews = await self.asked(policy)
            alone = [core_of(await policy.review(review)) for review in reviews]
            wrong: list[object] = []

            async def ask(place: int) -> None:
                seen = core_of(await policy.review(reviews[place]))
                if seen != alone[place]:
                    wrong.append((alone[place], seen))

            async with trio.open_nursery() as nursery:
                for place in [*range(len(reviews))] * 3:
                    nursery.start_soon(ask, place)
        promise(not wrong, f"{ALIKE}, also beside others", REVIEW, wrong)

    async def test_order_of_keys_does_not_matter(self, tmp_path: Path) -> None:
        """Arguments are a JSON object, which has no order."""
        calls = [
            {"path": "/x", "mode": "r", "a": 1},
            {"mode": "r", "a": 1, "path": "/x"},
            {"a": 1, "path": "/x", "mode": "r"},
        ]
        model = next(one for one in of_any_arguments() if one.boundary == "tool_call")
        async with self.opened(tmp_path) as policy:
            reviews = [evolve(model, subject=ToolCall("c1", "read_file", given)) for given in calls]
            seen = [core_of(verdicts) for verdicts in await self.judge_all(policy, reviews)]
            plain = [[row[:4] for row in rows] for rows in seen]
        same(plain[:1] * len(plain), plain, f"{ALIKE}, whatever the order of the arguments", REVIEW)

    async def test_ids_do_not_matter(self, tmp_path: Path) -> None:
        """Ids of messages, calls and sessions are random: who decides by them draws lots."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                subject, seen = review.subject, []
                for _ in range(4):
                    if isinstance(subject, Message | ToolCall | ModelRequest):
                        subject = evolve(subject, id=new_id())
                    else:
                        subject = evolve(subject, call=new_id())
                    seen.append(core_of(await policy.review(evolve(review, subject=subject))))
                same(seen[:1] * 4, seen, f"{ALIKE}, whatever its ids", REVIEW)

    async def test_chance_does_not_decide(self, tmp_path: Path) -> None:
        """Whatever the state of Python's random numbers."""
        state = random.getstate()
        try:
            async with self.opened(tmp_path) as policy:
                seen = []
                for seed in range(4):
                    random.seed(seed)
                    seen.append([core_of(await policy.review(review)) for review in await self.asked(policy)])
        finally:
            random.setstate(state)
        same(seen[:1] * 4, seen, f"{ALIKE}, and no luck", REVIEW)

    async def test_restart_decides_alike(self, tmp_path: Path) -> None:
        """Closed and made anew in the same directory, twice."""
        seen = []
        async with self.far_side(tmp_path):
            for _ in range(3):
                async with self.worker(tmp_path) as policy:
                    seen.append([core_of(await policy.review(review)) for review in await self.asked(policy)])
        same(seen[:1] * 3, seen, f"{ALIKE}, after a restart as well", REVIEW)

    @needs(IMPORTABLE)
    async def test_other_processes_decide_alike(self, tmp_path: Path) -> None:
        """Another process takes a session over: sets and hashes have another order there."""
        told = os.environ.get(CHILD)
        if told:  # this is that other process
            target, _, directory = told.partition("\n")
            await trio.Path(target).write_text(await self.decisions(Path(directory)), "utf-8")
            return
        (tmp_path / "work").mkdir()
        expected = await self.decisions(tmp_path / "work")
        for seed in ("1", "2"):
            seen = await self.elsewhere(tmp_path / f"verdicts-{seed}", tmp_path / "work", seed)
            same(json.loads(expected), json.loads(seen), f"{ALIKE}, in another process as well", REVIEW)

    async def decisions(self, directory: Path) -> str:
        """All decisions, as JSON."""
        async with self.opened(directory) as policy:
            found = [core_of(await policy.review(review)) for review in await self.asked(policy)]
        return json.dumps(found, default=repr)

    async def elsewhere(self, target: Path, directory: Path, seed: str) -> str:
        """The same from a process with other hashes: pytest runs this very check there."""
        kit = type(self)
        place = "::".join((inspect.getfile(kit), *kit.__qualname__.split("."), "test_other_processes_decide_alike"))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", place]
        env = {**os.environ, CHILD: f"{target}\n{directory}", "PYTHONHASHSEED": seed}
        with within(PROCESS_SECONDS, "another process decides", REVIEW):
            done = await trio.run_process(command, env=env, check=False, capture_stdout=True, capture_stderr=True)
        promise(not done.returncode, "another process can make the policy", REVIEW, done.stdout[-2000:])
        return await trio.Path(target).read_text("utf-8")

    # -- less never gets more

    @needs("denied")
    async def test_what_must_be_denied_is_denied(self, tmp_path: Path) -> None:
        """Whoever else allows it, in every order, after all the others, and with more arguments than it needs."""
        async with self.opened(tmp_path) as policy:
            for review in [*await self.denied(), *reversed(await self.denied())]:
                for policies in ([policy, Generous()], [Generous(), policy]):
                    effect = await self.decide(policies, review)
                    same("deny", effect, "what must be denied is denied, whoever else allows it", REVIEW)
                subject = review.subject
                if isinstance(subject, ToolCall) and isinstance(subject.arguments, dict):
                    more = evolve(subject, arguments={**subject.arguments, "kit-more": [1, {"path": "/tmp/x"}]})  # noqa: S108  # only a name
                    effect = await self.decide([policy, Generous()], evolve(review, subject=more))
                    same("deny", effect, "more arguments open nothing", REVIEW)
                await self.work(policy)

    @needs("make_narrower")
    async def test_narrower_settings_never_allow_more(self, tmp_path: Path) -> None:
        """One rule more that denies: no review gets a weaker answer than before."""
        (tmp_path / "narrower").mkdir()
        async with self.opened(tmp_path) as policy:
            narrower = await self.make_narrower(tmp_path / "narrower")
            narrower.name = narrower.name or "narrower"
            await narrower.open()
            try:
                for review in await self.asked(policy, [*await self.reviews(), *of_anybody()]):
                    before, after = [STRENGTH[await self.decide([each], review)] for each in (policy, narrower)]
                    promise(after >= before, "narrower settings never allow more", NARROWS, (before, after, review))
            finally:
                await narrower.close()

    @needs("lesser")
    async def test_less_authority_never_gets_more(self, tmp_path: Path) -> None:
        """Of two reviews that differ in authority alone."""
        async with self.opened(tmp_path) as policy:
            for more, less in await self.lesser():
                with_more, with_less = [STRENGTH[await self.decide([policy], review)] for review in (more, less)]
                seen = (with_more, with_less, less)
                promise(with_less >= with_more, "who may less never gets more", NARROWS, seen)

    async def test_two_policies_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Another one of its kind is made, opened, asked and closed: this one decides as before."""
        (tmp_path / "other").mkdir()
        async with self.opened(tmp_path) as policy:
            reviews = await self.asked(policy)
            before = [core_of(await policy.review(review)) for review in reviews]
            other = await self.make_worker(tmp_path / "other")
            other.name = "other"
            await other.open()
            await self.work(other)
            await other.close()
            after = [core_of(await policy.review(review)) for review in reviews]
        same(before, after, f"{ALIKE}, whoever else is closed", REVIEW)


EVERYWHERE: frozenset[Boundary] = frozenset({"message_in", "model_request", "tool_call", "tool_result", "message_out"})


class Generous(Policy):
    """Allows everything."""

    immediate = True
    boundaries = EVERYWHERE

    async def review(self, review: Review) -> Sequence[Verdict]:
        """Yes."""
        return (Verdict("allow", "all"),)
