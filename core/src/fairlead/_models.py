"""The model resolver: an alias becomes a chain, and the chain is tried in its order until one answers."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import define, evolve, field, frozen

from fairlead import errors
from fairlead._config import ModelRef
from fairlead._health import floor_of
from fairlead._health_log import moment
from fairlead._leaf import own_fault
from fairlead._message import TOOL_NAME, Message, Origin, Part, Text, ToolCall, Usage, is_json, new_id, sound, stamp
from fairlead._work import Delta, ModelAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fairlead._contracts import Provider
    from fairlead._health_log import HealthLog
    from fairlead._work import Emit, ModelInfo, ModelRequest

__all__ = ["Answered", "ModelResolver"]

_INFO_SECONDS = 2.0
"""How long the first answer of a provider may wait for its list of prices."""
_TRIES = 3
"""Of one link, before the first token and where no other is left."""
_RETRY_SECONDS = 8.0
"""Until the last of them begins."""
_PAUSE = 0.5
"""Seconds before the second; twice that before the third. Each is made up to half longer or shorter by chance."""
_SOON = (errors.BrokenStream, errors.ConnectionFailed, errors.Overloaded, errors.ProviderTimeout)
"""What may be over soon; so may a `RateLimited` that says so."""
_INFO_AGAIN = 60.0
"""Seconds after which a provider that could not say is asked once more."""


@frozen
class Link:
    """One model of a chain, with its provider at hand."""

    ref: ModelRef
    provider: Provider


@frozen
class Answered:
    """An answer as the session keeps it."""

    message: Message
    provider: str
    model: str
    usage: Usage
    finish: str

    def without(self, known: set[str]) -> Answered:
        """With new ids of its calls where one is known: some servers count from 0, and others refuse the history."""
        calls = self.message.calls
        if not calls or known.isdisjoint([call.id for call in calls]):
            return self
        renamed = tuple(evolve(call, id=f"call_{new_id()}") for call in calls)
        return evolve(self, message=evolve(self.message, calls=renamed))


class Gate(Protocol):
    """Stands before each single request to a model."""

    async def admit(self, request: ModelRequest, provider: str, info: ModelInfo | None) -> ModelRequest:
        """The request as it may be sent. `TurnError`: it may not."""

    async def settle(self, usage: Usage | None) -> None:
        """What the last admitted request used; None where nobody knows."""


class Shown:
    """What a reader has already seen of an answer, so that a second try shows only what is new."""

    __slots__ = ("_emit", "_try", "seen")

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self.seen = self._try = ""

    def again(self) -> None:
        """A new try begins."""
        self._try = ""

    async def emit(self, delta: Delta) -> None:
        if delta.kind != "text":
            if not self.seen:
                await self._pass_on(delta)
            return
        self._try += delta.text
        new = self._try[len(self.seen) :]
        if not new or not self._try.startswith(self.seen):
            return  # a second try says the same again, or something else: the final answer settles it
        self.seen = self._try
        await self._pass_on(Delta(new))

    async def _pass_on(self, delta: Delta) -> None:
        """A reader that fails sees no more; the turn, and the provider that is asked, must not feel it."""
        if self._emit is not None:
            try:
                await self._emit(delta)
            except Exception:  # noqa: BLE001  # whatever the host's function raises
                self._emit = None


@define
class _Walk:
    """One answer that is sought in a chain: what was tried so far."""

    chain: Sequence[Link]
    shown: Shown
    probed: set[str]
    tries: dict[int, int] = field(factory=dict)
    """By the place in the chain."""
    refused: set[tuple[str, str]] = field(factory=set)
    """Provider and model that do not take this request, with whatever credential."""
    overflow: int | None = None
    """Tokens of the largest window that was too small; 0 where it is not known."""
    again: int | None = None
    """The first place that failed in a way that may be over soon."""
    floor: float = 0.0
    """Seconds for which it wants to be left alone."""
    probes: bool = False
    """Only those are left that rest."""
    began: float = field(factory=trio.current_time)
    last: BaseException | None = None


class ModelResolver:
    """The providers of an app and the aliases for their models."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, tuple[ModelRef, ...]],
        log: HealthLog,
        *,
        default: ModelRef | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`default`: the only model, where the configuration has no alias ``default``."""
        self.log = log
        self._providers = providers
        self._aliases = dict(aliases)
        if "default" not in self._aliases and default is not None:
            self._aliases["default"] = (default,)
        self._infos: dict[str, dict[str, ModelInfo]] = {}
        self._again: dict[str, float] = {}
        self._listing = {name: trio.Lock() for name in providers}
        self._origins = {name: Origin("provider", name) for name in providers}
        self._chains: dict[str, tuple[Link, ...]] = {}
        self._jitter = jitter

    def resolve(self, name: str) -> tuple[Link, ...]:
        """The chain of an alias, or of ``provider/model``: each model with each credential that it may use.

        `ConfigError`: neither is known.
        """
        chain = self._chains.get(name)
        if chain is None:
            refs = self._aliases.get(name)
            if refs is None:
                provider, _, model = name.partition("/")
                refs = (ModelRef(provider, model),) if model and provider in self._providers else ()
            links = tuple(link for ref in refs for link in self._links(ref))
            if not links:
                raise self._unknown(name, refs)
            chain = self._chains[name] = links
        return chain

    def _links(self, ref: ModelRef) -> Iterator[Link]:
        provider = self._providers.get(ref.provider)
        if provider is not None:
            for name in (ref.credential,) if ref.credential else provider.credentials:
                yield Link(ref if name == ref.credential else evolve(ref, credential=name), provider)

    async def generate(
        self,
        chain: Sequence[Link],
        request: ModelRequest,
        emit: Emit | None,
        failed: Callable[[Link, BaseException, str], None],
        gate: Gate | None = None,
        probed: set[str] | None = None,
        *,
        widen: bool = True,
        too_small: int | None = None,
    ) -> Answered:
        """Ask the chain. `failed` is told of each link that did not answer, with what had been shown of it.

        First those that are well, in order; then once more, after a pause, what may be over soon; then those that cool
        down, one of each provider: `probed` names the providers that this turn has probed. Another link is asked only
        before the first token; a stream that breaks later is asked again once, at the same link. Without `widen` no
        larger window is looked for; `too_small`: one of so many tokens (0: nobody knows) will not do.

        Raises the last `ProviderError`, but `ContextOverflow` where there was one.
        """
        walk = _Walk(chain, Shown(emit), set() if probed is None else probed, overflow=too_small)
        while (place := await self._next(walk)) is not None:
            walk.tries[place] = walk.tries.get(place, 0) + 1
            seen = walk.shown.seen
            try:
                return await self._attempt(walk, place, request, gate)
            except errors.TurnError:  # the gate's
                raise
            except BaseException as error:  # noqa: BLE001  # a fault in a provider's code fails this link only
                walk.last = await own_fault(error)
                failed(walk.chain[place], walk.last, walk.shown.seen[len(seen) :])
            walk.shown.again()
            if walk.shown.seen:
                if seen:
                    break
                walk.again = place
            else:
                await self._learn(walk, place)
            if walk.overflow is not None and not widen:
                break
        failure = self._no_answer(walk)
        raise failure from (walk.last if walk.last is not failure else failure.__cause__)

    async def _attempt(self, walk: _Walk, place: int, request: ModelRequest, gate: Gate | None) -> Answered:
        """Ask one link, and tell its health of what became of it."""
        link, health = walk.chain[place], self.log.health
        ref = link.ref
        is_probe = health.is_down(ref.provider)
        if is_probe:
            health.probing.add(ref.provider)
        try:
            if not ref.model:
                link = await self._named(link)
                ref = link.ref
                walk.chain = (*walk.chain[:place], link, *walk.chain[place + 1 :])
            answered = await self._once(link, request, walk.shown, gate)
        except errors.TurnError:
            raise
        except BaseException as error:
            fault = await own_fault(error)
            now = self.log.clock()
            await self.log.keep(health.failed(ref.provider, ref.credential, ref.model, fault, now))
            raise
        finally:
            if is_probe:
                health.probing.discard(ref.provider)
        if ref.provider in health.bad:
            await self.log.keep(health.answered(ref.provider, ref.credential, ref.model, self.log.clock()))
        return answered

    async def _next(self, walk: _Walk) -> int | None:
        """The place in the chain to ask next, after a pause where there must be one; None: nobody is left."""
        if walk.shown.seen:
            return walk.again
        if not walk.tries and walk.overflow is None and walk.chain[0].ref.provider not in self.log.health.bad:
            return 0
        await self.log.look()
        left, now = await self._left(walk), self.log.clock()
        well = next((place for until, place in left if until <= now), None)
        if well is not None:
            return well
        if walk.again is not None and await self._pause(walk, walk.chain[walk.again].ref):
            return walk.again
        walk.probes = True
        for _, place in sorted(left):
            if (provider := walk.chain[place].ref.provider) not in walk.probed:
                walk.probed.add(provider)
                return place
        return None

    async def _left(self, walk: _Walk) -> list[tuple[float, int]]:
        """The places that were not tried and may be, each with the moment until which it cools down."""
        health = self.log.health
        return [
            (health.until(link.ref.provider, link.ref.credential, link.ref.model), place)
            for place, link in enumerate(walk.chain)
            if place not in walk.tries and link.ref.provider not in health.probing and await self._fits(walk, link.ref)
        ]

    async def _fits(self, walk: _Walk, ref: ModelRef) -> bool:
        """Whether a model may take the request for all that is known."""
        if walk.overflow is not None:
            info = await self._info(ref.provider, ref.model)
            if info is None or (info.window or 0) <= walk.overflow:
                return False
        return (ref.provider, ref.model) not in walk.refused

    async def _pause(self, walk: _Walk, ref: ModelRef) -> bool:
        """Wait before another try of what may be over soon. False: there is no time for it, or it was tried enough."""
        tries = walk.tries[walk.again or 0]
        if self.log.health.is_down(ref.provider) or not await self._fits(walk, ref):
            return False
        pause = max(_PAUSE * 2 ** (tries - 1) * (0.5 + self._jitter()), walk.floor)
        end = trio.current_time() + pause
        if tries >= _TRIES or end > walk.began + _RETRY_SECONDS or end >= trio.current_effective_deadline():
            return False
        await trio.sleep(pause)
        return True

    async def _learn(self, walk: _Walk, place: int) -> None:
        """What a failure before the first token says about the next try."""
        error, ref = walk.last, walk.chain[place].ref
        if isinstance(error, errors.ContextOverflow):
            info = await self._info(ref.provider, ref.model)
            window = info.window if info is not None else None
            limit = error.limit if type(error.limit) is int else None
            walk.overflow = max(walk.overflow or 0, limit or window or 0)
        elif isinstance(error, errors.BadRequest | errors.ContentRefused):
            walk.refused.add((ref.provider, ref.model))
        floor = floor_of(error) if error is not None else 0.0
        soon = isinstance(error, _SOON) or (isinstance(error, errors.RateLimited) and floor > 0)
        if soon and not walk.probes and walk.again in (None, place):
            walk.again, walk.floor = place, floor
        elif walk.again == place:
            walk.again = None

    def _no_answer(self, walk: _Walk) -> errors.ProviderError:
        """The error that says what happened, what to do, and when somebody may be asked again."""
        error, now, health, ref = walk.last, self.log.clock(), self.log.health, walk.chain[-1].ref
        if walk.overflow is not None:
            problem = _TOO_LARGE.format(f" of {walk.overflow} tokens" if walk.overflow else "")
            step = "fairlead sessions compact"
            return errors.ContextOverflow(problem, provider=ref.provider, limit=walk.overflow or None, next_step=step)
        until = min(health.until(link.ref.provider, link.ref.credential, link.ref.model) for link in walk.chain)
        if isinstance(error, errors.ProviderError):
            if until <= now:
                return error
            problem = error.problem.rstrip(". ")
        elif error is not None:
            problem = f"provider {ref.provider!r} failed with {type(error).__name__}"
        elif until > now:
            problem = "every model that could answer rests, after it failed"
        else:
            problem = f"provider {ref.provider!r} was down, and somebody else asks just now whether it still is"
        if until > now:
            problem += f". The next try makes sense {moment(until, now)}"
        return errors.ProviderError(problem, provider=ref.provider, model=ref.model, next_step="fairlead doctor")

    async def infos(self) -> dict[str, tuple[ModelInfo, ...]]:
        """The models of each provider. A provider that cannot say offers none."""
        for name in self._providers:
            await self._info(name, "")
        return {name: tuple(self._infos.get(name, {}).values()) for name in self._providers}

    async def window(self, link: Link) -> int | None:
        """Tokens of the model's window; None where its provider does not say."""
        if not link.ref.model:
            try:
                link = await self._named(link)
            except Exception:  # noqa: BLE001  # it will fail again, with words, when it is asked
                return None
        info = await self._info(link.ref.provider, link.ref.model)
        return info.window if info is not None else None

    async def _once(self, link: Link, request: ModelRequest, shown: Shown, gate: Gate | None) -> Answered:
        ref = link.ref
        if request.model != ref.model or request.credential != ref.credential or request.options is not ref.options:
            request = evolve(request, model=ref.model, credential=ref.credential, options=ref.options)
        if gate is None:
            return await self._asked(link, request, shown)
        request = await gate.admit(request, ref.provider, await self._info(ref.provider, ref.model))
        usage: Usage | None = None
        try:
            answered = await self._asked(link, request, shown)
            usage = answered.usage if answered.usage != _NO_USAGE else None  # it worked, and did not say how much
        except errors.ProviderError as error:
            unclear = isinstance(error, _UNCLEAR) or type(error) is errors.ProviderError
            usage = None if unclear else _NO_USAGE
            raise
        finally:
            await gate.settle(usage)
        return answered

    async def _asked(self, link: Link, request: ModelRequest, shown: Shown) -> Answered:
        ref = link.ref
        answer = await link.provider.generate(request, shown.emit)
        origin = self._origins[ref.provider]
        message = Message("assistant", _stamped(answer.parts, origin), calls=_calls(answer.calls, origin))
        usage = answer.usage
        if type(answer.model) is not str:
            raise TypeError(f"expected the name of a model, found {answer.model!r:.200}")
        if usage is not _NO_USAGE:
            _check_usage(usage)
        if usage.cost is None and (usage.input_tokens or usage.output_tokens):
            usage = await self._priced(ref, usage)
        finish = answer.finish if answer.finish in _FINISHES else "stop"
        return Answered(message, ref.provider, sound(answer.model) or ref.model, usage, finish)

    async def _named(self, link: Link) -> Link:
        """The link with the first model that its provider lists, which all chains have from now on.

        `ProviderError`: the provider cannot say.
        """
        provider = link.ref.provider
        listed = await link.provider.models()
        if not listed:
            problem = f"provider {provider!r} lists no model"
            raise errors.UnknownModel(problem, provider=provider, next_step="name a model under [models]")
        named = Link(evolve(link.ref, model=listed[0].name), link.provider)
        for name, chain in self._chains.items():
            self._chains[name] = tuple(named if each is link else each for each in chain)
        return named

    async def _priced(self, ref: ModelRef, usage: Usage) -> Usage:
        info = await self._info(ref.provider, ref.model)
        if info is None or info.input_price is None or info.output_price is None:
            return usage
        cost = (usage.input_tokens * info.input_price + usage.output_tokens * info.output_price) / 1_000_000
        return evolve(usage, cost=cost)

    async def _info(self, provider: str, model: str) -> ModelInfo | None:
        known = self._infos.get(provider)
        if known is None or (not known and trio.current_time() >= self._again[provider]):
            async with self._listing[provider]:  # who comes meanwhile waits for the same answer
                if self._infos.get(provider) is known:
                    self._infos[provider] = await self._listed(provider)
                    self._again[provider] = trio.current_time() + _INFO_AGAIN
        return self._infos[provider].get(model)

    async def _listed(self, provider: str) -> dict[str, ModelInfo]:
        with trio.move_on_after(_INFO_SECONDS):
            try:
                return {info.name: info for info in await self._providers[provider].models()}
            except BaseException as error:  # noqa: BLE001  # without prices the answer still counts
                await own_fault(error)
        return {}

    def _unknown(self, name: str, refs: Sequence[ModelRef]) -> errors.ConfigError:
        known = sorted({*self._aliases, *(f"{provider}/..." for provider in self._providers)})
        if refs:
            wanted = ", ".join(sorted({ref.provider for ref in refs}))
            problem = f"no provider of the chain {name!r} is available (it names {wanted})"
        elif not self._providers:
            problem = "no provider is available, so no model can be asked"
            mend = "hand one in, fairlead.open(providers=[...]), or name one in fairlead.toml: fairlead init"
            return errors.ConfigError(problem, path="models", next_step=mend)
        else:
            problem = f"no model is named {name!r}; expected one of {', '.join(known)}"
        return errors.ConfigError(problem, path="models", next_step="fairlead doctor")


def _stamped(parts: Sequence[Part], origin: Origin) -> tuple[Part, ...]:
    """As `stamp`, with a short way for the one text that nearly every answer is."""
    if len(parts) == 1 and type(parts[0]) is Text:
        return (Text(sound(parts[0].text), origin),)
    return stamp(parts, origin)


_NO_USAGE = ModelAnswer().usage
_UNCLEAR = (errors.BrokenStream, errors.ConnectionFailed, errors.ProviderTimeout)
"""After these the provider may have worked, and ask to be paid."""
_TOO_LARGE = "the conversation is larger than the model's window{}, and none with a larger one is in reach."
_FINISHES = ("stop", "tools", "length", "refused")


def _check_usage(usage: Usage) -> None:
    """`TypeError`: it cannot be added up, or not be journalled."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
    if any(type(count) is not int or count < 0 for count in counts):
        raise TypeError(f"expected numbers of tokens, found {counts!r:.200}")
    if usage.cost is not None and not 0 <= usage.cost < float("inf"):
        raise TypeError(f"expected a cost in US dollars, found {usage.cost!r:.200}")


_STRANGE = re.compile(r"[^A-Za-z0-9_-]")


def _calls(calls: Sequence[ToolCall], origin: Origin) -> tuple[ToolCall, ...]:
    """The calls with our label, and with ids that differ: some servers leave them out or repeat them.

    Arguments that are no JSON become their text, which no schema takes: the model is told what it sent. Names that no
    tool can have are made harmless: every later request repeats them, and vendors refuse a request for one bad name.
    """
    if not calls:
        return ()
    seen: set[str] = set()
    made = []
    for call in calls:
        ident = sound(call.id) if call.id and call.id not in seen else f"call_{new_id()}"
        seen.add(ident)
        arguments = call.arguments if is_json(call.arguments) else sound(str(call.arguments))
        name = call.tool if TOOL_NAME.fullmatch(call.tool) else _STRANGE.sub("_", call.tool)[:64] or "_"
        made.append(ToolCall(ident, name, arguments, origin))
    return tuple(made)
