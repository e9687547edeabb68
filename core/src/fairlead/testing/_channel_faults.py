"""What a channel promises while things go wrong: cancellation, a far side that is gone, slow, or breaks off."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from pathlib import Path

import trio

from fairlead._message import Text, new_id
from fairlead._work import Delivery, Outbound
from fairlead.testing._channel_far import (
    EXTERNAL,
    READY,
    RETURN_SECONDS,
    RUN,
    SECONDS,
    SEND,
    STOP_SECONDS,
    ChannelFar,
    cut_off,
    words_of,
)
from fairlead.testing._channel_inbox import KitInbox
from fairlead.testing._worker_kit import logged, needs, promise, same, within

__all__ = ["FaultChecks"]

CHECK, CLOSE, LATER = "fairlead.Channel.check", "fairlead.Channel.close", "fairlead.Delivery.retry_after"
SECRET = "fairlead.types.Secret"
OUTCOMES = {"sent": (1,), "failed": (0,), "ambiguous": (0, 1)}
"""How often a message can then be read."""
SEEDS = 12
AWAY_SECONDS = 0.3
WATCH_SECONDS = 3.0
"""How long the tries of a channel are counted whose far side is gone. Real time, where the far side is real."""
MOST_TRIES = 10
"""In that time: of a pause that begins with 0.1 s and doubles there are six."""


class FaultChecks(ChannelFar):
    """Cancellation, reconnecting, deaf and dead peers, ambiguous sends, shutdown."""

    # -- stopping

    async def test_run_is_ready_once_and_stops_when_cancelled(self, tmp_path: Path) -> None:
        """It says where messages can arrive, and stops in time, also while a peer does not read."""
        async with self.running(tmp_path) as (_, inbox):
            await self.misbehave()
            await trio.lowlevel.checkpoint()
        promise(len(inbox.places) == 1 and inbox.places[0], "ready() is called once, with a place", READY, inbox.places)

    async def test_run_stops_at_any_moment(self, tmp_path: Path) -> None:
        """Cancelled at random, also before it is ready; then another one starts in its place."""
        chance = random.Random(5)  # noqa: S311  # a seed, so that a failure can be repeated
        async with self.far_side(tmp_path):
            for steps in [0, 1, 2, *(chance.randrange(3, 200) for _ in range(3))]:
                async with self.worker(tmp_path) as channel:
                    with within(STOP_SECONDS + 1, "run() stops when it is cancelled", RUN):
                        await cut_off(lambda channel=channel: channel.run(KitInbox()), steps)  # type: ignore[misc]  # bound at once
            async with self.at_work(tmp_path) as (_, inbox):
                await self.hears_again(inbox)

    async def test_run_stops_while_a_message_is_handed_in(self, tmp_path: Path) -> None:
        """The journal may be slow when the app is asked to stop."""
        inbox = KitInbox()
        inbox.hold()
        async with trio.open_nursery() as nursery:
            async with self.running(tmp_path, inbox):
                nursery.start_soon(self.mutter, "in the middle", "event-1")
                with within(SECONDS, "what is said at the far side is handed in", RUN):
                    await inbox.wait_knock()
            nursery.cancel_scope.cancel()
        promise(not inbox.accepted, "what was not kept is not counted", "fairlead.Inbox.accept", inbox.accepted)

    @needs("restarted")
    async def test_opening_and_closing_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """Each time it lets go of its tasks, threads and open files."""
        async with self.far_side(tmp_path):

            async def use() -> None:
                async with self.worker(tmp_path) as channel:
                    await self.work(channel)

            await self.leaves_nothing(use)

    async def test_closing_during_a_send_ends_it(self, tmp_path: Path) -> None:
        """The app stops while an answer is on its way, maybe to somebody who does not take it."""
        async with trio.open_nursery() as nursery:
            async with self.running(tmp_path) as (channel, inbox):
                where = (await self.heard(inbox, "hello there")).address
                if await self.has("hang", tmp_path):
                    await self.hang()

                async def send() -> None:
                    with suppress(Exception):  # an exception counts as ambiguous
                        await channel.send(Outbound("kit-1", where, (Text("on its way"),)))

                nursery.start_soon(send)
                await self.wait_quiet()
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        took = trio.current_time() - began
        promise(took <= STOP_SECONDS, f"a send ends {STOP_SECONDS} s after it was cancelled", CLOSE, took)

    async def test_cancelled_send_arrives_once_at_most(self, tmp_path: Path) -> None:
        """At random points; and the next one arrives."""
        chance = random.Random(7)  # noqa: S311  # a seed, so that a failure can be repeated
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for seed in range(SEEDS):
                outbound = Outbound(new_id(), where, (Text(f"maybe {seed}"),))
                steps, seconds = (seed, 0.0) if seed % 2 else (0, chance.random() / 100)
                with within(STOP_SECONDS, "a cancelled send lets go", SEND):
                    await cut_off(lambda outbound=outbound: channel.send(outbound), steps, seconds)  # type: ignore[misc]  # bound at once
                await self.sends_again(channel, where, f"surely {seed}")
            same(1, await self.count_read(f"surely {SEEDS - 1}"), "after a cancelled send the next one arrives", SEND)
            seen = [text for text in await self.outbox() if text.startswith(("maybe", "surely"))]
        twice = sorted({text for text in seen if seen.count(text) > 1})
        promise(not twice, "a cancelled send arrives once at most", SEND, twice)
        surely = [text for text in seen if text.startswith("surely")]
        same([f"surely {seed}" for seed in range(SEEDS)], surely, "the others arrive once, in order", SEND)

    # -- two at once, and what doctor sees

    async def test_two_workers_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Two tables of one configuration: another one is made, opened and closed while this one runs."""
        (tmp_path / "other").mkdir()
        async with self.far_side(tmp_path):
            other = await self.make_worker(tmp_path / "other")
            other.name = "other"
            async with self.at_work(tmp_path) as (channel, inbox):
                where = (await self.heard(inbox, "before")).address
                await other.open()
                with within(STOP_SECONDS, "close() is done", CLOSE):
                    await other.close()
                await self.heard(inbox, "after")
                await self.send(channel, where, "it goes on")
                await self.reads("it goes on")
        promise(other.name == "other" != channel.name, "each has its own name", "fairlead.Channel.name", channel.name)

    async def test_check_answers_in_every_state(self, tmp_path: Path) -> None:
        """Opened, at work, and once nothing runs any more; beside other work."""
        async with self.far_side(tmp_path), self.worker(tmp_path) as channel:
            found = [await self.checked(channel)]
            async with self.listening(channel, inbox := KitInbox()):
                where = (await self.heard(inbox, "hello there")).address
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.send, channel, where, "hello")
                    found.append(await self.checked(channel))
            found.append(await self.checked(channel))
        promise(found[1], "at work all is well", CHECK, found)

    async def checked(self, channel: object) -> bool:
        """Whether doctor is content."""
        with within(SECONDS, "check() answers", CHECK):
            findings = await channel.check()  # type: ignore[attr-defined]  # a channel
        vague = [each for each in findings if not each.ok and not each.next_step]
        promise(not vague, "a bad finding has a next_step", CHECK, vague)
        return all(finding.ok for finding in findings)

    @needs("away", "back")
    async def test_check_tells_that_the_far_side_is_gone(self, tmp_path: Path) -> None:
        """Whoever asks doctor wants to know just that."""
        async with self.running(tmp_path) as (channel, inbox):
            await self.heard(inbox, "hello there")
            await self.away()
            content = await self.checked(channel)
            await self.back()
        promise(not content, "check() finds that the far side is gone", CHECK, content)

    # -- gone and back

    @needs("drop")
    async def test_connection_that_broke_is_made_again(self, tmp_path: Path) -> None:
        """Twice; then it hears and sends, and is not ready a second time."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for number in range(2):
                await self.drop()
                await self.hears_again(inbox)
                await self.sends_again(channel, where, f"back {number}")
                same(1, await self.count_read(f"back {number}"), "it sends once it is back", RUN)
        same(1, len(inbox.places), "ready() is called once, not for each connection", READY)

    @needs("drop")
    async def test_nothing_comes_twice_with_a_new_connection(self, tmp_path: Path) -> None:
        """A platform that repeats its last events after a connection broke repeats them with their ids."""
        async with self.running(tmp_path) as (_, inbox):
            for number in range(3):
                await self.heard(inbox, f"before {number}", f"before-{number}")
            await self.drop()
            await self.hears_again(inbox)
            await self.inbound("before 2", "before-2")
            await self.hears(inbox, "after")
        seen = [text for got in inbox.accepted if (text := words_of(got.parts)).startswith(("before", "after"))]
        same(["before 0", "before 1", "before 2", "after"], seen, "a new connection repeats nothing", EXTERNAL)

    @needs("away", "back")
    async def test_far_side_that_was_gone_is_found_again(self, tmp_path: Path) -> None:
        """It hears and sends as before."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.away()
            await trio.sleep(AWAY_SECONDS)
            await self.back()
            got = await self.hears_again(inbox)
            same(where, got.address, "the place is the same as before", "fairlead.Address")
            await self.sends_again(channel, where, "here I am")
            same(1, await self.count_read("here I am"), "it sends once the far side is back", RUN)

    @needs("away", "back", "attempts")
    async def test_tries_to_reconnect_grow_rarer(self, tmp_path: Path) -> None:
        """Back-off: a platform that is down is not hammered."""
        at: list[float] = []
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "hello there")
            await self.away()
            began, count = trio.current_time(), await self.attempts()
            while trio.current_time() < began + WATCH_SECONDS and len(at) <= MOST_TRIES:
                await trio.sleep(0.005)
                now = await self.attempts()
                at += [trio.current_time()] * (now - count)
                count = now
            await self.back()
        promise(len(at) <= MOST_TRIES, f"at most {MOST_TRIES} tries in {WATCH_SECONDS:g} s", RUN, len(at))
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        growing = len(gaps) < 3 or max(gaps[-2:]) > 1.5 * min(gaps[:2])  # noqa: PLR2004  # fewer say nothing; jitter
        promise(growing, "the pauses between the tries grow", RUN, gaps)

    @needs("backlog", "away", "back")
    async def test_what_was_said_meanwhile_is_heard(self, tmp_path: Path) -> None:
        """Where the platform keeps it: whole, in order, once."""
        said = [f"meanwhile {number}" for number in range(3)]
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "hello there")
            await self.away()
            for text in said:
                await self.inbound(text, text.replace(" ", "-"))
            await trio.sleep(AWAY_SECONDS)
            await self.back()
            with within(RETURN_SECONDS, "what was said while it was away is handed in", RUN):
                seen = [words_of((await inbox.next()).parts) for _ in said]
            await self.hears(inbox, "and on it goes")
        same(said, seen, "what was said while it was away is handed in in order", RUN)
        same(5, len(inbox.accepted), "and once", EXTERNAL)

    @needs("away", "back")
    async def test_sending_while_the_far_side_is_gone_has_a_true_outcome(self, tmp_path: Path) -> None:
        """Sent is what arrives, failed what never will; who waits too long is cancelled."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.away()
            await self.wait_quiet()
            void = Outbound("kit-1", where, (Text("into the void"),))
            delivery = await self.outcome_of(channel, void, 2 * AWAY_SECONDS)
            await self.back()
            await self.hears_again(inbox)
            await self.sends_again(channel, where, "afterwards")
            right = OUTCOMES[delivery.status]
            seen = await self.count_read("into the void", right)
        promise(seen in right, "sent is what arrived, failed what surely has not", SEND, (delivery, seen))

    # -- slow, deaf, and unsure

    async def test_peer_that_neither_reads_nor_writes_delays_nobody(self, tmp_path: Path) -> None:
        """The others are heard and answered."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.misbehave()
            await self.hears(inbox, "still there?")
            await self.send(channel, where, "still here")
            await self.reads("still here")

    @needs("hang", "back")
    async def test_far_side_that_hangs_holds_nothing(self, tmp_path: Path) -> None:
        """A cancelled send lets go, and arrives once at most; check() answers; then all goes on."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.hang()
            with within(STOP_SECONDS, "a cancelled send lets go, also where the far side hangs", SEND):
                await cut_off(lambda: channel.send(Outbound("kit-1", where, (Text("maybe"),))), 3, 0.1)
            await self.checked(channel)
            await self.back()
            await self.hears_again(inbox)
            await self.sends_again(channel, where, "surely")
            seen = await self.count_read("surely"), await self.count_read("maybe", (0, 1))
        promise(seen in ((1, 0), (1, 1)), "after that the channel works, and nothing is shown twice", SEND, seen)

    @needs("hang", "back")
    async def test_far_side_that_is_slow_leaves_a_true_outcome(self, tmp_path: Path) -> None:
        """It takes its time for a message: sent is what it has taken, failed what it surely has not."""
        found: list[Delivery] = []
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.hang()
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    slow = Outbound("kit-1", where, (Text("take your time"),))
                    found.append(await self.outcome_of(channel, slow))

                nursery.start_soon(send)
                await trio.sleep(AWAY_SECONDS)
                await self.back()
            await self.sends_again(channel, where, "afterwards")
            same(1, await self.count_read("afterwards"), "after that it sends as before", SEND)
            right = OUTCOMES[found[0].status]
            seen = await self.count_read("take your time", right)
        promise(seen in right, "sent is what arrived, failed what surely has not", SEND, (found[0], seen))

    @needs("secrets", "away", "back")
    async def test_secrets_are_not_shown_when_things_fail(self, tmp_path: Path) -> None:
        """Errors of libraries quote addresses and requests, with all that is in them."""
        with logged() as lines:
            async with self.running(tmp_path) as (channel, inbox):
                where = (await self.heard(inbox, "hello there")).address
                await self.away()
                await self.wait_quiet()
                lost = Outbound("kit-1", where, (Text("into the void"),))
                shown = [*await channel.check(), await self.outcome_of(channel, lost, 2 * AWAY_SECONDS)]
                await self.back()
        for text in (*map(repr, shown), *lines):
            told = [text.replace(secret, "(the secret)") for secret in await self.secrets() if secret in text]
            promise(not told, "a secret is shown by nothing but `reveal`, also in errors", SECRET, told)

    @needs("hang")
    async def test_run_stops_while_the_far_side_hangs(self, tmp_path: Path) -> None:
        """No good-bye is waited for that nobody says."""
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "hello there")
            await self.hang()
            await self.wait_quiet()

    @needs("swallow")
    async def test_send_without_a_confirmation_is_not_taken_for_failed(self, tmp_path: Path) -> None:
        """The far side shows it and breaks off: unknown to the channel, or found out; shown once in any case."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.swallow()
            outbound = Outbound("kit-1", where, (Text("did it arrive?"),))
            delivery = await self.outcome_of(channel, outbound)
            if channel.capabilities.idempotency and delivery.status != "sent":
                await self.sends_again(channel, where, "afterwards")
                await channel.send(outbound)
            seen = await self.count_read("did it arrive?")
        right = delivery.status != "failed" and seen == 1
        promise(right, "what may have arrived is ambiguous, and shown once", "fairlead.Delivery", (delivery, seen))

    @needs("refuse")
    async def test_send_that_is_refused_has_failed_and_may_come_again(self, tmp_path: Path) -> None:
        """Not before the far side allows it: `retry_after`, or the channel waits by itself."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.refuse(1)
            began = trio.current_time()
            delivery = await self.send(channel, where, "too much", "kit-1")
            took = trio.current_time() - began
            if delivery.status == "failed":
                promise(delivery.reason, "what failed has a reason", "fairlead.Delivery.reason", delivery)
                pause = delivery.retry_after
                promise(pause is not None and pause >= 1, "it says when to come again, not too early", LATER, delivery)
                same(0, await self.count_read("too much", (0,)), "what failed has surely not arrived", SEND)
                await trio.sleep(pause or 1)
                delivery = await self.send(channel, where, "too much", "kit-1")
            else:
                promise(took >= 1, "it waits as long as it was told", LATER, (delivery, took))
            same("sent", delivery.status, "what comes again when it may is sent", SEND)
            same(1, await self.count_read("too much"), "and arrives once", SEND)
