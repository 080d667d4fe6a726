"""The end of a time limit, importable without asyncio."""

from contextvars import ContextVar

# The moment (time.monotonic) by which a sync stream's next event must be there: each wait has another one, and a
# request a single timeout. Who reads it keeps it.
next_by: ContextVar[float] = ContextVar("next_by", default=float("inf"))


class OutOfTime(TimeoutError):
    """The time that an attempt, or a piece of its stream, was given is over."""
