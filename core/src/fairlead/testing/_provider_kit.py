"""The promises of a provider."""

from __future__ import annotations

from fairlead.testing._provider_answers import ProviderAnswers
from fairlead.testing._provider_faults import ProviderFaults
from fairlead.testing._provider_requests import ProviderRequests
from fairlead.testing._provider_streams import ProviderStreams
from fairlead.testing._provider_tools import ProviderTools

__all__ = ["ProviderConformance"]


class ProviderConformance(ProviderAnswers, ProviderTools, ProviderRequests, ProviderStreams, ProviderFaults):
    """Subclass it, override `make_worker`, and set `wire` or override `far_side` where there is a server.

    `wire` says how the server speaks (`ModelWire`): the kit then starts a `ModelServer`, kept as ``self.server``, which
    answers and shows every fault of real servers; `make_worker` points the worker at ``self.server.url``, with the key
    `secret` and with time-outs of at most `patience` seconds. Checks that need such a far side do not apply without.
    """
