"""Plugins that never answer, never load, crash again and again, or have a say in everything: whole apps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import evolve

from fairlead.config import Config, Limits

from .misbehaviour import KINDS, NAME, OTHERS, SECONDS, misbehave, scene

pytestmark = pytest.mark.docker
TOKEN = "token-of-the-host-5c1b"


async def test_plugins_that_spin_are_found_and_started_again(config: Callable[..., Config], tmp_path: Path) -> None:
    """All kinds at the same time, nobody cancels them: within half a minute all work again; others wait for nobody."""
    hasty = evolve(config(*OTHERS), limits=Limits(tool_seconds=5.0))
    async with scene(hasty, tmp_path) as made:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for kind in OTHERS:
                    nursery.start_soon(misbehave, made, kind, "spin")
                for _ in range(5):
                    assert await made.hello() < 5.0
                    await trio.sleep(1.0)  # real time: plugins spin meanwhile
        assert await made.hello() < 5.0
        told = [text for text in made.notices.texts if "it did not answer within" in text]
        assert {"channels", "providers"} <= {text.split("/")[1] for text in told}


async def test_ignored_cancellation_is_ended_by_force(config: Callable[..., Config], tmp_path: Path) -> None:
    """The turn is over within some seconds, and the plugin works again."""

    async def cancelled(kind: str) -> None:
        with trio.move_on_after(0.5):
            await made.use(kind, "ignore")
        await misbehave(made, kind, "do nothing")

    async with scene(config("memories", "providers", "tools"), tmp_path) as made:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for kind in ("memories", "providers", "tools"):
                    nursery.start_soon(cancelled, kind)
                assert await made.hello() < 5.0


@pytest.mark.parametrize("word", ["throw", "leave", "exit", "crash", "leak"])
async def test_plugin_that_fails_while_it_loads_is_a_report(
    word: str, config: Callable[..., Config], tmp_path: Path
) -> None:
    """The app opens without it, says why, and answers others."""
    async with scene(config(*OTHERS, load=word), tmp_path) as made:
        assert await made.hello() < 5.0
        reports = {each.plugin: each for each in made.app.reports if NAME in each.plugin}
        assert {"failed"} == {reports[f"{kind}/{NAME}"].status for kind in OTHERS}
        for kind in OTHERS:
            assert reports[f"{kind}/{NAME}"].error is not None
        findings = {finding.subject: finding for finding in await made.app.check() if not finding.ok}
        assert {f"{kind}/{NAME}" for kind in OTHERS} <= set(findings)


async def test_policy_that_cannot_be_loaded_denies(config: Callable[..., Config], tmp_path: Path) -> None:
    """Nothing passes that it might have denied; why is said."""
    async with scene(config("policies", load="throw"), tmp_path) as made:
        said = await made.use("policies", "hello")
        assert "fine" != said
        assert "could not be loaded" in said, said


@pytest.mark.parametrize("word", ["throw", "leave", "exit", "crash"])
async def test_policy_that_dies_counts_as_a_denial(word: str, config: Callable[..., Config], tmp_path: Path) -> None:
    """The message is refused and not lost; once the policy lives again, messages pass."""
    async with scene(config("policies"), tmp_path) as made:
        assert "fine" == await made.use("policies", "hello")
        said = await made.use("policies", word)
        assert said.startswith("TurnRefused"), said
        await misbehave(made, "policies", "do nothing")


async def test_plugins_that_crash_again_and_again_are_left_alone(config: Callable[..., Config], tmp_path: Path) -> None:
    """After three crashes: in quarantine, told with the command that ends it; others are answered."""

    async def crash(kind: str) -> None:
        for _ in range(20):
            await made.use(kind, "exit")
            if any(f"plugins revive {kind}/{NAME}" in text for text in made.notices.texts):
                return

    kinds = ("memories", "providers", "channels")
    async with scene(config(*kinds), tmp_path) as made:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for kind in kinds:
                    nursery.start_soon(crash, kind)
                assert await made.hello() < 5.0
        findings = {finding.subject: finding for finding in await made.app.check()}
        for kind in kinds:
            found = findings[f"{kind}/{NAME}"]
            assert (False, True) == (found.ok, found.detail.startswith("quarantined")), found
            assert "exit status 9" in found.detail
        assert await made.hello() < 5.0


async def test_secrets_of_the_host_are_out_of_reach(
    config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its environment, of its files, of its processes: whichever kind looks for them."""
    monkeypatch.setenv("FAIRLEAD_TOKEN", TOKEN)
    secret = tmp_path / "fairlead.toml"
    secret.write_text(f'token = "{TOKEN}"')
    looked = f'spy ["{secret}", "/proc/{os.getpid()}/environ", "/proc/1/root{secret}", "/etc/shadow", "/root/.netrc"]'
    async with scene(config("memories", "providers", "tools"), tmp_path / "app") as made:
        for kind in ("memories", "providers", "tools"):
            text = await made.use(kind, looked)
            assert "'HOME'" in text or "'PATH'" in text, text
            assert TOKEN not in text
            assert "root:" not in text


async def test_all_kinds_work_together(config: Callable[..., Config], tmp_path: Path) -> None:
    """In one app, the policy among them; the tool's call says where it ran."""
    async with scene(config(*KINDS), tmp_path) as made:
        for kind in KINDS:
            assert "fine" == await made.use(kind, "do nothing"), kind
        tool = made.app.worker_of("act")
        assert tool is not None
        assert "container" == (await tool.evidence())["level"]
