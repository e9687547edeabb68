"""How a program ends that has an app: closed or not, with turns that run, after forks, and by signals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .programs import run

HEAD = """
import contextlib, threading, time
import trio
import fairlead
from fairlead import embed
from fairlead.config import Config, PluginConfig
from fairlead.testing import ScriptedProvider, calls

def echo(**options):
    return ScriptedProvider([lambda request: "re: " + request.history[-1].text], repeat=True, **options)

class Hanging(ScriptedProvider):
    asked = threading.Event()
    async def generate(self, request, emit):
        self.asked.set()
        await trio.sleep_forever()

def in_background(function):
    def run():
        with contextlib.suppress(fairlead.errors.TurnCancelled):
            function("hi", session="s")
    threading.Thread(target=run, daemon=True).start()

def end():
    print("END", time.time(), flush=True)
"""
LIMIT = 2.0
"""Seconds from the last line of the program to its end."""

ENDINGS = {
    "used and not closed": """
        app = embed.start(providers=[echo()])
        print(app.ask("hi").text)
        end()
    """,
    "never used": """
        app = embed.start(providers=[echo()])
        end()
    """,
    "a turn hangs": """
        app = embed.start(providers=[Hanging()])
        in_background(app.ask)
        Hanging.asked.wait()
        end()
    """,
    "a stream hangs": """
        app = embed.start(providers=[Hanging()])
        in_background(lambda text, session: list(app.stream(text, session=session)))
        Hanging.asked.wait()
        end()
    """,
    "a function of the host hangs": """
        entered = threading.Event()
        def hang() -> str:
            "Hang."
            entered.set()
            threading.Event().wait()
        app = embed.start(providers=[ScriptedProvider([calls(("hang", {}))])], tools=[hang])
        in_background(app.ask)
        entered.wait()
        end()
    """,
    "a worker does not close": """
        class Stuck(ScriptedProvider):
            async def close(self):
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()
        app = embed.start(providers=[Stuck()])
        end()
    """,
    "the thread of the app is blocked": """
        class Blocking(ScriptedProvider):
            async def generate(self, request, emit):
                Hanging.asked.set()
                threading.Event().wait()
        app = embed.start(providers=[Blocking()])
        in_background(app.ask)
        Hanging.asked.wait()
        end()
    """,
    "in a loop of asyncio that is left": """
        import asyncio
        async def main():
            global app
            app = embed.start(providers=[Hanging()]).asyncio
            asyncio.ensure_future(app.ask("hi"))
            await asyncio.to_thread(Hanging.asked.wait)
        asyncio.run(main())
        end()
    """,
    "by sys.exit": """
        import sys
        app = embed.start(providers=[echo()])
        end()
        sys.exit(0)
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_abandoned_app_does_not_hang_the_exit(ending: str, tmp_path: Path) -> None:
    """Nothing is said, the exit code is the program's, and it takes less than two seconds."""
    _, seconds = run(f"{HEAD}\n{_flat(ENDINGS[ending])}", home=tmp_path)
    assert seconds < LIMIT


def _flat(text: str) -> str:
    lines = text.strip("\n").splitlines()
    return "\n".join(line[8:] for line in lines)


def test_thread_that_goes_on_after_the_main_one_still_asks(tmp_path: Path) -> None:
    """A program ends with its last thread that is no daemon, and so does the app."""
    program = """
        app = embed.start(providers=[echo()])
        def work():
            main.join()
            print(app.ask("late").text)
            end()
        main = threading.main_thread()
        threading.Thread(target=work).start()
    """
    said, seconds = run(f"{HEAD}\n{_flat(program)}", home=tmp_path)
    assert "re: late\n" == said
    assert seconds < LIMIT


def test_message_that_was_accepted_is_answered_by_the_next_program(tmp_path: Path) -> None:
    """The program ends while the model thinks; nobody closed anything; the next one finishes the turn, once."""
    program = """
        import sys
        from pathlib import Path
        from fairlead import Address, Capabilities, Channel, Delivery, Inbound, Principal, Text
        config = Config(data_dir=Path(sys.argv[1]), plugins=(PluginConfig("memories", "sqlite"),))
        shown = threading.Event()
        class Chat(Channel):
            name, capabilities = "chat", Capabilities()
            ready = trio.Event()
            async def run(self, inbox):
                self.inbox = inbox
                self.ready.set()
                await trio.sleep_forever()
            async def accept(self):
                await self.ready.wait()
                where, words = Address("chat", conversation="1"), (Text("hi"),)
                receipt = await self.inbox.accept(Inbound(where, Principal("x"), words, "e1"))
                print(receipt.status)
            async def send(self, outbound):
                print(outbound.parts[0].text)
                shown.set()
                return Delivery("sent", "1")
        chat = Chat()
        app = embed.start(config, providers=[Hanging() if sys.argv[2] == "first" else echo()], channels=[chat])
        app.call(chat.accept)
        (Hanging.asked if sys.argv[2] == "first" else shown).wait(20)
        end()
    """
    whole = f"{HEAD}\n{_flat(program)}"
    first, seconds = run(whole, str(tmp_path), "first", home=tmp_path)
    assert "accepted\n" == first
    assert seconds < LIMIT
    second, _ = run(whole, str(tmp_path), "second", home=tmp_path)
    assert ["duplicate", "re: hi"] == sorted(second.split("\n"))[1:]


def test_turn_that_was_cancelled_at_the_exit_has_its_end_in_the_journal(tmp_path: Path) -> None:
    """Nobody waited for its answer any more."""
    program = """
        import sys
        from pathlib import Path
        config = Config(data_dir=Path(sys.argv[1]), plugins=(PluginConfig("memories", "sqlite"),))
        app = embed.start(config, providers=[Hanging()])
        if sys.argv[2] == "first":
            in_background(app.ask)
            Hanging.asked.wait()
        else:
            print(app.call(app.inner.sessions.records, "s")[-1].event.outcome)
        end()
    """
    whole = f"{HEAD}\n{_flat(program)}"
    run(whole, str(tmp_path), "first", home=tmp_path)
    said, _ = run(whole, str(tmp_path), "second", home=tmp_path)
    assert "cancelled\n" == said


# -- forks


def test_fork_after_the_start_is_told_what_to_do(tmp_path: Path) -> None:
    """As with gunicorn's --preload. The parent goes on; the child ends at once, and may start an app of its own."""
    program = """
        import gc, os
        app = embed.start(providers=[echo()])
        app.ask("hi", session="s")
        child = os.fork()
        if not child:
            for act in (lambda: app.ask("hi"), lambda: list(app.stream("hi"))):
                try:
                    act()
                except RuntimeError as error:
                    assert "a fork has no thread of it" in str(error) and "post_fork" in str(error), error
                    print("refused", flush=True)
            app.close()
            with embed.start(providers=[echo()]) as own:
                print(own.ask("child").text, flush=True)
            del app
            gc.collect()
            raise SystemExit
        assert os.waitpid(child, 0)[1] == 0
        print(app.ask("parent", session="s").text)
        print(len(app.call(app.inner.sessions.history, "s")))
        app.close()
        end()
    """
    said, seconds = run(f"{HEAD}\n{_flat(program)}", home=tmp_path)
    assert ["refused", "refused", "re: child", "re: parent", "4"] == said.split("\n")[:-1]
    assert seconds < LIMIT


def test_workers_that_fork_first_and_start_at_their_first_request(tmp_path: Path) -> None:
    """The recipe for servers that fork: each worker has an app of its own, which ends with it."""
    program = """
        import os
        from functools import cache
        @cache
        def agent():
            return embed.start(providers=[echo()])
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                print(agent().ask(f"worker {number}").text, flush=True)
                raise SystemExit  # and nothing is closed
            children.append(child)
        assert [0, 0, 0] == [os.waitpid(child, 0)[1] for child in children]
        end()
    """
    said, _ = run(f"{HEAD}\n{_flat(program)}", home=tmp_path)
    assert [f"re: worker {number}" for number in range(3)] == sorted(said.split("\n")[:-1])


def test_processes_of_multiprocessing_end(tmp_path: Path) -> None:
    """They fork, end without exit handlers, and are told the same."""
    if sys.platform != "linux":
        pytest.skip("fork is the start method on Linux; next: run this test there")
    program = """
        import multiprocessing
        app = embed.start(providers=[echo()])
        def work(queue):
            try:
                app.ask("hi")
            except RuntimeError as error:
                queue.put(str(error)[:16])
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=work, args=[queue])
        process.start()
        print(queue.get())
        process.join()
        assert process.exitcode == 0
        end()
    """
    said, seconds = run(f"{HEAD}\n{_flat(program)}", home=tmp_path)
    assert "this app was star\n"[:16] == said[:16]
    assert seconds < LIMIT


# -- signals


def test_ctrl_c_ends_the_program_as_without_an_app(tmp_path: Path) -> None:
    """While the main thread waits for an answer: its own traceback, its own exit code, no delay."""
    program = """
        import os, signal
        def interrupt():
            Hanging.asked.wait()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            with embed.start(providers=[Hanging()]) as app:
                app.ask("hi")
        except KeyboardInterrupt:
            print("interrupted")
        end()
    """
    said, seconds = run(f"{HEAD}\n{_flat(program)}", home=tmp_path)
    assert "interrupted\n" == said
    assert seconds < LIMIT
