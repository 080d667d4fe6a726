"""The end of a time limit, importable without asyncio."""

from contextvars import ContextVar

# The moment (time.monotonic) by which a sync stream's next event must be there: it differs for each wait, while a
# request has a single timeout. Whoever reads the stream sets it.
next_by: ContextVar[float] = ContextVar("next_by", default=float("inf"))


class OutOfTime(TimeoutError):
    """The time allowed for an attempt, or for a piece of its stream, is over."""
