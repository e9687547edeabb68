"""The promises of a channel."""

from __future__ import annotations

from fairlead.testing._channel_faults import FaultChecks
from fairlead.testing._channel_in import InboundChecks
from fairlead.testing._channel_out import OutboundChecks
from fairlead.testing._channel_text import TextChecks

__all__ = ["ChannelConformance"]


class ChannelConformance(InboundChecks, OutboundChecks, TextChecks, FaultChecks):
    """Subclass it, override `make_worker`, `inbound`, `outbox`, and `far_side` with a fake peer where there is one.

    More hooks have more proven; without them a check says that it does not apply (`applies()` lists all of these):

    - ``misbehave()``: a peer connects, and neither reads nor writes
    - ``elsewhere(text, external_id)``, ``elsewhere_outbox()``: another conversation
    - ``in_thread(text, external_id, thread)``, ``thread_outbox(thread)``: threads
    - ``media_outbox()``: media type and bytes of what arrived beside text
    - ``acknowledged(external_id)``: whether the platform was told that the event was taken
    - ``restarted()``: the far side finds the channel that was made anew
    - ``drop()``, ``away()``, ``back()``, ``attempts()``: connections break; the far side is gone, and is back
    - ``backlog = True``: the platform keeps what is said meanwhile
    - ``hang()``: the far side answers nothing, until ``back()``
    - ``swallow()``: the next send is shown, and never confirmed
    - ``refuse(seconds)``: the next send is not taken, and may come again later
    - ``half(text, external_id)``, ``raw(data)``: half an event, and bytes without sense
    - ``secrets()``: the secrets of the settings, which must not be shown
    """
