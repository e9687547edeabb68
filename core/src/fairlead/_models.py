"""The model resolver: an alias becomes a chain, and the chain is tried in its order until one answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import evolve, frozen

from fairlead._config import ModelRef
from fairlead._leaf import own_fault
from fairlead._message import TOOL_NAME, Message, Origin, Part, Text, ToolCall, Usage, is_json, new_id, sound, stamp
from fairlead._work import Delta, ModelAnswer
from fairlead.errors import (
    BrokenStream,
    ConfigError,
    ConnectionFailed,
    ProviderError,
    ProviderTimeout,
    TurnError,
    UnknownModel,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._contracts import Provider
    from fairlead._work import Emit, ModelInfo, ModelRequest

__all__ = ["Answered", "ModelResolver"]

_INFO_SECONDS = 2.0
"""How long the first answer of a provider may wait for its list of prices."""
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


class ModelResolver:
    """The providers of an app and the aliases for their models."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, tuple[ModelRef, ...]],
        *,
        default: ModelRef | None = None,
    ) -> None:
        """`default`: the only model, where the configuration has no alias ``default``."""
        self._providers = providers
        self._aliases = dict(aliases)
        if "default" not in self._aliases and default is not None:
            self._aliases["default"] = (default,)
        self._infos: dict[str, dict[str, ModelInfo]] = {}
        self._again: dict[str, float] = {}
        self._listing = {name: trio.Lock() for name in providers}
        self._origins = {name: Origin("provider", name) for name in providers}
        self._chains: dict[str, tuple[Link, ...]] = {}

    def resolve(self, name: str) -> tuple[Link, ...]:
        """The chain of an alias, or of ``provider/model``. `ConfigError`: neither is known."""
        chain = self._chains.get(name)
        if chain is None:
            refs = self._aliases.get(name)
            if refs is None:
                provider, _, model = name.partition("/")
                refs = (ModelRef(provider, model),) if model and provider in self._providers else ()
            links = tuple(Link(ref, self._providers[ref.provider]) for ref in refs if ref.provider in self._providers)
            if not links:
                raise self._unknown(name, refs)
            chain = self._chains[name] = links
        return chain

    async def generate(
        self,
        chain: Sequence[Link],
        request: ModelRequest,
        emit: Emit | None,
        failed: Callable[[Link, BaseException, str], None],
        gate: Gate | None = None,
    ) -> Answered:
        """Ask the chain. `failed` is told of each link that did not answer, with what had been shown of it.

        Another model is asked only before the first token; a stream that breaks later is asked again once, at the same
        model. Raises the last `ProviderError`.
        """
        shown = Shown(emit)
        last: BaseException | None = None
        for link in chain:
            for _ in range(2):
                seen = shown.seen
                try:
                    return await self._once(link, request, shown, gate)
                except TurnError:  # the gate's
                    raise
                except BaseException as error:  # noqa: BLE001  # a fault in a provider's code fails this link only
                    last = await own_fault(error)
                    failed(link, last, shown.seen[len(seen) :])
                    shown.again()
                if not shown.seen or seen:
                    break
            if shown.seen:
                break
        if isinstance(last, ProviderError):
            raise last
        name = chain[-1].ref.provider
        raise ProviderError(
            f"provider {name!r} failed with {type(last).__name__}", provider=name, next_step="fairlead doctor"
        ) from last

    async def infos(self) -> dict[str, tuple[ModelInfo, ...]]:
        """The models of each provider. A provider that cannot say offers none."""
        for name in self._providers:
            await self._info(name, "")
        return {name: tuple(self._infos.get(name, {}).values()) for name in self._providers}

    async def window(self, link: Link) -> int | None:
        """Tokens of the model's window; None where its provider does not say."""
        info = await self._info(link.ref.provider, link.ref.model)
        return info.window if info is not None else None

    async def _once(self, link: Link, request: ModelRequest, shown: Shown, gate: Gate | None) -> Answered:
        if not link.ref.model:
            link = await self._named(link)
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
        except ProviderError as error:
            usage = None if isinstance(error, _UNCLEAR) else _NO_USAGE
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
            raise UnknownModel(problem, provider=provider, next_step="name a model under [models]")
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

    def _unknown(self, name: str, refs: Sequence[ModelRef]) -> ConfigError:
        known = sorted({*self._aliases, *(f"{provider}/..." for provider in self._providers)})
        if refs:
            wanted = ", ".join(sorted({ref.provider for ref in refs}))
            problem = f"no provider of the chain {name!r} is available (it names {wanted})"
        elif not self._providers:
            problem = "no provider is available, so no model can be asked"
            mend = "hand one in, fairlead.open(providers=[...]), or name one in fairlead.toml: fairlead init"
            return ConfigError(problem, path="models", next_step=mend)
        else:
            problem = f"no model is named {name!r}; expected one of {', '.join(known)}"
        return ConfigError(problem, path="models", next_step="fairlead doctor")


def _stamped(parts: Sequence[Part], origin: Origin) -> tuple[Part, ...]:
    """As `stamp`, with a short way for the one text that nearly every answer is."""
    if len(parts) == 1 and type(parts[0]) is Text:
        return (Text(sound(parts[0].text), origin),)
    return stamp(parts, origin)


_NO_USAGE = ModelAnswer().usage
_UNCLEAR = (BrokenStream, ConnectionFailed, ProviderTimeout)
"""After these the provider may have worked, and ask to be paid."""
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
