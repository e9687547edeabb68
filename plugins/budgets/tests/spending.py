"""Requests to models, apps with budgets, and a clock that the test sets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, evolve

import fairlead
from fairlead import (
    Address,
    App,
    Channel,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Observer,
    Principal,
    Review,
    Settings,
    Text,
    Usage,
    Verdict,
)
from fairlead.config import Agent, Config, ModelRef, PluginConfig
from fairlead.testing import ScriptedProvider
from fairlead_budgets._policy import Budgets
from fairlead_budgets.operations import Account, Table, accounts

NOW = 1_800_000_000.0
"""2027-01-15 08:00 UTC, a Friday."""
PRICED = ModelInfo("m", window=100_000, max_output=1000, input_price=1.0, output_price=10.0)
"""A thousand tokens of output are a cent, as many of input a tenth of one."""
USED = Usage(100, 50)
"""$0.0006 of it."""


@define
class Clock:
    """Unix seconds, as the test says."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(data_dir: Path, clock: Clock | None = None, **options: Any) -> AsyncIterator[Budgets]:
    """A policy, opened, on a clock of its own."""
    policy = Budgets(Settings("budgets", options, data_dir))
    policy.clock = clock or Clock()
    await policy.open()
    try:
        yield policy
    finally:
        await policy.close()


def review(  # whatever budgets can be about
    ident: str,
    *,
    who: str = "kit:ann",
    session: str = "s1",
    agent: str = "main",
    channel: str = "kit",
    provider: str = "p",
    model: ModelInfo | None = PRICED,
    text: str = "hello",
    **more: Any,
) -> Review:
    history = (Message("user", (Text(text),), id="m1"),)
    request = ModelRequest(model.name if model else "m", history, session=session, id=ident, **more)
    person, place = Principal(who), Address(channel, "bot", "room")
    return Review("model_request", request, session, agent, person, place, provider=provider, model=model)


async def denial(policy: Budgets, asked: Review) -> Verdict | None:
    """The denial, or None where it passes. What the policy wants to be revised is revised, as the core does it."""
    for verdict in await policy.review(asked):
        if verdict.effect == "deny":
            return verdict
        if verdict.effect == "revise":
            assert isinstance(verdict.revised, ModelRequest)
            return await denial(policy, evolve(asked, subject=verdict.revised))
    return None


def table(data_dir: Path, clock: Clock | None = None, **options: Any) -> Table:
    """As a program sees it; by the real clock, as apps do, where none is given."""
    return Table(data_dir, options, clock=clock or time.time)


def one(data_dir: Path, clock: Clock | None = None, **options: Any) -> Account:
    """How the only account stands."""
    (found,) = accounts(table(data_dir, clock, **options))
    return found


def provider(script: Sequence[Any], *infos: ModelInfo, name: str = "p", **more: Any) -> ScriptedProvider:
    return ScriptedProvider(script, name=name, models=infos or (PRICED,), **more)


def answer(text: str = "fine", usage: Usage = USED) -> ModelAnswer:
    return ModelAnswer((Text(text),), usage=usage)


@asynccontextmanager
async def app_of(
    data_dir: Path,
    *providers: ScriptedProvider,
    chain: Sequence[str] = ("p/m",),
    rules: Sequence[Any] = (),
    channels: Sequence[Channel] = (),
    observers: Sequence[Observer] = (),
    agent: Agent = Agent(),  # noqa: B008  # frozen
    **options: Any,
) -> AsyncIterator[App]:
    """A whole app, with the policy loaded by its entry point; after 20 s it is too late."""
    refs = tuple(ModelRef(name.partition("/")[0], name.partition("/")[2]) for name in chain)
    plugins = [PluginConfig("policies", "budgets", isolation="host", options=options)]
    if rules:
        plugins.append(PluginConfig("policies", "rules", isolation="host", options={"rules": rules}))
    config = Config(data_dir=data_dir, plugins=tuple(plugins), models={"default": refs}, agents=(agent,))
    async with fairlead.open(config, providers=providers, channels=channels, observers=observers) as app:
        assert ["ready"] * len(plugins) == [report.status for report in app.reports]
        with trio.fail_after(20):
            yield app
