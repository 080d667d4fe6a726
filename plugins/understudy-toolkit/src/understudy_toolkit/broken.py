"""An unreadable piece in the middle of a stream: skipped only with proof that nothing is missing.

Half an answer must not look like a whole one, docs/decisions/0047-a-broken-chunk-is-passed-over-only-with-proof.md.
Nothing is sent or read here.
"""

from __future__ import annotations

from understudy.errors import MalformedResponse
from understudy.response import ResponseWarning
from understudy.usage import Usage

__all__ = ["BrokenPieces"]


class BrokenPieces:
    """Counts what came and what could not be read, and judges at the end.

    Attributes:
        failure: of the first piece that could not be read; None where all could.
    """

    def __init__(self) -> None:
        self.failure: MalformedResponse | None = None
        self._number = 0
        self._pieces = 0

    def add(self, failure: MalformedResponse) -> None:
        """Record that a piece could not be read."""
        self.failure = self.failure or failure
        self._number += 1

    def count(self, pieces: int) -> None:
        """Record that text, thinking or a piece of a tool call came, in so many events."""
        self._pieces += pieces > 0

    def judge(self, usage: Usage | None, *, complete: bool = False) -> tuple[ResponseWarning, ...]:
        """Return a warning where a piece was passed over, once the stream has ended with a finish reason.

        Args:
            usage: what the server counted: a piece came for every token that was written, and so none is missing.
            complete: whether that is proved otherwise: the end of the stream holds the whole answer once more.

        Raises:
            MalformedResponse: something may be missing.
        """
        if self.failure is None:
            return ()
        if not complete and (usage is None or usage.output_tokens != self._pieces):
            raise self.failure
        pieces = "a piece" if self._number == 1 else f"{self._number} pieces"
        words = f"{pieces} of the stream could not be read and was skipped: nothing of the answer is missing"
        return (ResponseWarning("stream", words),)
