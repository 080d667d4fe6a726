"""The end of a time limit, importable without asyncio."""


class OutOfTime(TimeoutError):
    """The time that an attempt, or a piece of its stream, was given is over."""
