"""Stop sequences, applied where an answer is read: OpenAI's models that reason take none, nor does the Responses API.

A server that stops by itself leaves nothing to cut. Where it goes on, what comes after the stop sequence is paid for
and not shown; a stream is read to its end all the same, which tells its tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from understudy import Part, StreamEvent, Text, TextDelta, ToolCallDelta


def find_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Return where the first stop sequence begins, and which it is; None where there is none.

    The first is the one that is complete first, as it is for who writes the text.
    """
    found = [(start + len(stop), start, stop) for stop in stops if (start := text.find(stop)) >= 0]
    if not found:
        return None
    _, start, stop = min(found)
    return start, stop


def cut_parts(parts: Sequence[Part], stops: Sequence[str]) -> tuple[list[Part], str | None]:
    """Return the parts of an answer up to the first stop sequence in its text, and that stop sequence."""
    found = find_stop("".join(part.text for part in parts if isinstance(part, Text)), stops)
    if found is None:
        return list(parts), None
    left, stop = found
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            if len(part.text) > left:
                kept += [replace(part, text=part.text[:left])] if left else []
                break
            left -= len(part.text)
        kept.append(part)
    return kept, stop


class StopFilter:
    """Holds a stream's text back from the first stop sequence on, and knows what the caller holds.

    Args:
        stops: the stop sequences.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""  # the end of the text, as long as it may be the beginning of a stop sequence
        self._stopped = False
        self._shown: list[str] = []
        self.given = False  # whether the caller holds a piece of an answer: text, or a tool call

    @property
    def text(self) -> str:
        """The text that the caller holds."""
        return "".join(self._shown)

    def shown(self, events: Iterable[StreamEvent], *, ended: bool) -> list[StreamEvent]:
        """Return what of these events the caller may see, and what was held back, once nothing more can come."""
        told = list(self._passed(events))
        if ended and self._held:
            told.append(TextDelta(self._held))
            self._held = ""
        for event in told:
            if isinstance(event, TextDelta):
                self._shown.append(event.text)
                self.given = self.given or bool(event.text.strip())
            elif isinstance(event, ToolCallDelta):
                self.given = True
        return told

    def _passed(self, events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
        for event in events:
            if isinstance(event, TextDelta) and self._stops:
                yield from self._text(event.text)
            elif not (self._stopped and isinstance(event, ToolCallDelta)):
                yield event

    def _text(self, piece: str) -> Iterator[StreamEvent]:
        if self._stopped:
            return
        text, self._held = self._held + piece, ""
        found = find_stop(text, self._stops)
        if found is not None:
            text, self._stopped = text[: found[0]], True
        else:
            held = max(_overlap(text, stop) for stop in self._stops)
            text, self._held = text[: len(text) - held], text[len(text) - held :]
        if text:
            yield TextDelta(text)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop sequence."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
