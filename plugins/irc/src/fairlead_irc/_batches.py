"""Batches (https://ircv3.net/specs/extensions/batch): lines that belong together."""

from __future__ import annotations

from attrs import define, evolve, field

from fairlead_irc._wire import Line

__all__ = ["CONCAT", "MULTILINE", "REPLAY", "Batches"]

MULTILINE = "draft/multiline"
CONCAT = "draft/multiline-concat"
REPLAY = "replay"
"""The tag that lines of old times get here. Clients cannot send it: theirs begin with ``+``."""
OLD = {"chathistory", "znc.in/playback", "playback"}
MOST_OPEN = 50
MOST_LINES = 500
MOST_CHARS = 65_536


@define(eq=False)
class _Batch:
    opened: Line
    kind: str
    parent: str
    pieces: list[Line] = field(factory=list)
    chars: int = 0


@define(eq=False)
class Batches:
    """The batches of a connection that are open now."""

    _open: dict[str, _Batch] = field(factory=dict, init=False)

    def take(self, line: Line) -> Line | None:
        """The line that is to be read: itself, with what its batch says of it; the whole of a batch; None: later."""
        if line.command == "BATCH":
            return self._take_batch(line)
        batch = self._open.get(line.tags.get("batch", ""))
        if batch is None:
            return line
        if batch.kind == MULTILINE:
            batch.chars += len(line.param(-1))
            if len(batch.pieces) < MOST_LINES and batch.chars <= MOST_CHARS:
                batch.pieces.append(line)
            return None
        return self._marked(line)

    def _take_batch(self, line: Line) -> Line | None:
        reference = line.param(0)
        if reference.startswith("+"):
            if len(self._open) < MOST_OPEN:
                self._open[reference[1:]] = _Batch(line, line.param(1).lower(), line.tags.get("batch", ""))
            return None
        batch = self._open.pop(reference[1:], None)
        if batch is None or batch.kind != MULTILINE or not batch.pieces:
            return None
        text = batch.pieces[0].param(-1)
        for piece in batch.pieces[1:]:
            text += ("" if CONCAT in piece.tags else "\n") + piece.param(-1)
        first = batch.pieces[0]
        tags = {**first.tags, **batch.opened.tags, "batch": batch.parent}
        source = batch.opened.source or first.source
        return self._marked(Line(first.command, (batch.opened.param(2) or first.param(0), text), source, tags))

    def _marked(self, line: Line) -> Line:
        """With the label of its batch, and marked where it is of old times; batches lie in batches."""
        tags = dict(line.tags)
        name = tags.get("batch", "")
        for _ in range(MOST_OPEN):
            batch = self._open.get(name)
            if batch is None:
                break
            if "label" in batch.opened.tags:
                tags.setdefault("label", batch.opened.tags["label"])
            if batch.kind in OLD:
                tags[REPLAY] = ""
            name = batch.parent
        return evolve(line, tags=tags)
