"""An unreadable chunk in the middle of a stream: skipped only with proof that nothing is missing.

docs/decisions/0047-a-broken-chunk-is-passed-over-only-with-proof.md. No SDK is imported and nothing is sent or read.
"""

from __future__ import annotations

from understudy import ResponseWarning, Usage
from understudy.errors import MalformedResponse


class BrokenChunks:
    """Counts what came and what could not be read, and judges at the end."""

    def __init__(self) -> None:
        self._first: MalformedResponse | None = None
        self._number = 0
        self._pieces = 0

    def add(self, failure: MalformedResponse) -> None:
        """Record that a chunk could not be read."""
        self._first = self._first or failure
        self._number += 1

    def count(self, pieces: int) -> None:
        """Record that a chunk had text, thinking or a piece of a tool call, in so many pieces."""
        self._pieces += pieces > 0

    def judge(self, usage: Usage | None, *, complete: bool = False) -> tuple[ResponseWarning, ...]:
        """Return a warning where a chunk was passed over, once the stream has ended with a finish reason.

        Args:
            usage: what the server counted: a piece came for every token that was written, and so none is missing.
            complete: whether it is proved otherwise: the end of the stream holds the whole answer once more.

        Raises:
            MalformedResponse: something may be missing.
        """
        if self._first is None:
            return ()
        if not complete and (usage is None or usage.output_tokens != self._pieces):
            raise self._first
        chunks = "a chunk" if self._number == 1 else f"{self._number} chunks"
        words = f"{chunks} of the stream could not be read and was skipped: nothing of the answer is missing"
        return (ResponseWarning("stream", words),)
