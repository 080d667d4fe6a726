"""The end of a time limit, for those who do without asyncio."""


class OutOfTime(TimeoutError):
    """The time that an attempt, or a piece of its stream, was given is over."""
