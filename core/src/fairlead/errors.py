"""Every error that Fairlead raises on purpose, in one tree.

    FairleadError
    ├── ConfigError                 the configuration: file, line, path, expectation
    ├── SchemaError                 a value at a boundary does not match its schema
    ├── PluginError                 a plugin cannot be used
    │   ├── PluginNotFound          nothing installed has that name
    │   ├── PluginConflict          two distributions claim one name
    │   ├── PluginVersionError      it needs another version of the plugin API
    │   └── PluginLoadError         its code failed while it was loaded or opened
    ├── ApprovalRefused             an approval cannot be decided so, or no more
    ├── IsolationUnavailable        nothing here can isolate as strongly as is asked
    ├── JournalError                the journal
    │   ├── VersionConflict         somebody else wrote to the session first
    │   ├── DuplicateKey            the external event is already in the journal
    │   ├── SessionNotFound         no such session
    │   └── JournalUnavailable      it cannot be read or written now
    ├── ProviderError               a model could not answer
    │   ├── RateLimited             too many requests; has the time of reset
    │   ├── Overloaded              the provider is busy (529, 503, 500)
    │   ├── AuthenticationFailed    the credential is wrong
    │   ├── BillingFailed           the account has no money left
    │   ├── ContextOverflow         the request is larger than the model's window
    │   ├── ContentRefused          the provider refuses the content
    │   ├── BadRequest              the provider does not understand the request
    │   ├── UnknownModel            the provider has no such model
    │   ├── ConnectionFailed        no connection, or it was reset before an answer
    │   ├── ProviderTimeout         no answer in time
    │   └── BrokenStream            the answer began and then broke off
    ├── ToolError                   a tool says in words for the model why it failed
    └── TurnError                   a turn ended without an answer
        ├── TurnRefused             a policy or a limit of the queue said no
        ├── TurnFailed              no model answered, or a limit was reached
        ├── TurnCancelled           somebody cancelled it
        └── InvalidResult           the answer never became the type that was asked for

A class without fields of its own needs no attrs decorator, which would cost 0.5 ms of every import.
``ValueError`` and ``TypeError`` are for programming mistakes of the caller and are not in the tree.
"""

from __future__ import annotations

from attrs import define, field

__all__ = [
    "ApprovalRefused",
    "AuthenticationFailed",
    "BadRequest",
    "BillingFailed",
    "BrokenStream",
    "ConfigError",
    "ConnectionFailed",
    "ContentRefused",
    "ContextOverflow",
    "DuplicateKey",
    "FairleadError",
    "InvalidResult",
    "IsolationUnavailable",
    "JournalError",
    "JournalUnavailable",
    "Overloaded",
    "PluginConflict",
    "PluginError",
    "PluginLoadError",
    "PluginNotFound",
    "PluginVersionError",
    "ProviderError",
    "ProviderTimeout",
    "RateLimited",
    "SchemaError",
    "SessionNotFound",
    "ToolError",
    "TurnCancelled",
    "TurnError",
    "TurnFailed",
    "TurnRefused",
    "UnknownModel",
    "VersionConflict",
]


@define(eq=False, slots=False)
class FairleadError(Exception):
    """The base of all: catch it to catch whatever Fairlead raises on purpose."""

    problem: str
    """What was found and what was expected, in one or two sentences."""
    next_step: str = field(default="", kw_only=True)
    """What to type or change next; empty where nothing would help."""

    def __str__(self) -> str:
        return f"{self.problem}\n  next: {self.next_step}" if self.next_step else self.problem


@define(eq=False, slots=False)
class ConfigError(FairleadError):
    """The configuration is wrong; the fault of whoever edited it. Nothing was changed by reading it."""

    file: str = field(default="", kw_only=True)
    line: int | None = field(default=None, kw_only=True)
    """Counted from 1; None where the fault is in no single line."""
    path: str = field(default="", kw_only=True)
    """The offending key, dotted: ``limits.steps``."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        head = ": ".join(part for part in (place, self.path) if part)
        text = FairleadError.__str__(self)
        return f"{head}: {text}" if head else text


@define(eq=False, slots=False)
class SchemaError(FairleadError):
    """A value does not match the schema of its boundary; the fault of whoever sent it."""

    schema: str = field(default="", kw_only=True)
    path: str = field(default="", kw_only=True)
    """Where in the value, as a JSON pointer; empty for the whole."""


@define(eq=False, slots=False)
class PluginError(FairleadError):
    """A plugin cannot be used; the rest goes on without it."""

    plugin: str = field(default="", kw_only=True)
    """``kind/name``, as the configuration has it."""
    distribution: str = field(default="", kw_only=True)
    """Name and version of the installed package, where one is known."""


class PluginNotFound(PluginError):
    """Nothing installed has that name. Not `PluginLoadError`: there something is installed and fails."""


class PluginConflict(PluginError):
    """Two distributions claim one name, so neither is used."""


class PluginVersionError(PluginError):
    """The plugin was written for a plugin API that this core does not offer. It was not imported."""


class PluginLoadError(PluginError):
    """The plugin's own code, hooks or settings are at fault."""


@define(eq=False, slots=False)
class ApprovalRefused(FairleadError):
    """It is unknown, already decided, expired or void, or not for this person to decide. Nothing has changed."""

    approval: str = field(default="", kw_only=True)


@define(eq=False, slots=False)
class IsolationUnavailable(FairleadError):
    """Code asks for stronger isolation than this machine or installation can give; it was not run."""

    floor: str = field(default="", kw_only=True)


@define(eq=False, slots=False)
class JournalError(FairleadError):
    """The journal refused or failed; nothing was written."""

    session: str = field(default="", kw_only=True)


@define(eq=False, slots=False)
class VersionConflict(JournalError):
    """Another writer was first: read the session again and decide anew."""

    expected: int = field(default=-1, kw_only=True)
    found: int = field(default=-1, kw_only=True)


@define(eq=False, slots=False)
class DuplicateKey(JournalError):
    """An event with this key is already in the journal. For the inbox this is no fault: the message came twice."""

    key: str = field(default="", kw_only=True)


class SessionNotFound(JournalError):
    """No session of that name. Not a fault of the journal."""


class JournalUnavailable(JournalError):
    """The disk or the server is at fault (full, read-only, gone). What was not acknowledged must not be relied on."""


@define(eq=False, slots=False)
class ProviderError(FairleadError):
    """A model could not answer. Each subclass decides whether another try, model or credential can help."""

    provider: str = field(default="", kw_only=True)
    model: str = field(default="", kw_only=True)
    status: int | None = field(default=None, kw_only=True)
    """The HTTP status, where there was one."""


@define(eq=False, slots=False)
class RateLimited(ProviderError):
    """Too many requests or tokens for now. Not `Overloaded`: there the provider is busy with everybody."""

    reset_after: float | None = field(default=None, kw_only=True)
    """Seconds until the provider takes requests again; None where it did not say."""


@define(eq=False, slots=False)
class Overloaded(ProviderError):
    """The provider is busy or broken inside (5xx)."""

    reset_after: float | None = field(default=None, kw_only=True)
    """Seconds, as in `RateLimited`."""


class AuthenticationFailed(ProviderError):
    """The credential is missing, wrong or without the right (401, 403). Trying again does not help."""


class BillingFailed(ProviderError):
    """The account has no credit (402, or a quota that is used up)."""


@define(eq=False, slots=False)
class ContextOverflow(ProviderError):
    """The history and the tools are larger than the model's window."""

    limit: int | None = field(default=None, kw_only=True)
    """Tokens, where the provider said."""


class ContentRefused(ProviderError):
    """The provider's own filter refuses the content; another provider may answer."""


class BadRequest(ProviderError):
    """The provider does not understand the request; a fault of the adapter or of an option in the configuration."""


class UnknownModel(ProviderError):
    """The provider has no such model, or not for this account."""


class ConnectionFailed(ProviderError):
    """No connection, or it was reset before anything of the answer arrived."""


class ProviderTimeout(ProviderError):
    """No answer, or no next piece of it, in time."""


class BrokenStream(ProviderError):
    """The answer began and then broke off or became unreadable. Not `ConnectionFailed`: a part was already there."""


class ToolError(FairleadError):
    """Raised by a tool to tell the model, in words meant for it, why the call failed.

    Any other exception of a tool is shown to the model as an internal error without its text.
    """


@define(eq=False, slots=False)
class TurnError(FairleadError):
    """A turn ended without an answer; the journal has its end and the notice."""

    session: str = field(default="", kw_only=True)
    turn: str = field(default="", kw_only=True)


@define(eq=False, slots=False)
class TurnRefused(TurnError):
    """A policy denied the message, or the queue of the session is full."""

    rule: str = field(default="", kw_only=True)
    """The rule and its layer, where a policy decided."""


@define(eq=False, slots=False)
class TurnFailed(TurnError):
    """No model answered, a limit on steps, tokens or time was reached, or nothing went on."""

    reason: str = field(default="", kw_only=True)
    """One word for programs: ``provider``, ``steps``, ``tokens``, ``time``, ``arguments``, ``policy``, ``stalled``."""
    rule: str = field(default="", kw_only=True)
    """For ``policy``: the layer and the rule that denied the request to the model: ``app:budget daily``."""


class TurnCancelled(TurnError):
    """Somebody cancelled the turn. Not trio's ``Cancelled``, which belongs to the caller's own scope."""


@define(eq=False, slots=False)
class InvalidResult(TurnError):
    """The model was asked again the allowed number of times and never gave a value of the wanted type."""

    text: str = field(default="", kw_only=True)
    """The last answer."""
