"""Every number and choice of the decision procedure, in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long to insist and when to let the next provider take the part. The defaults are the `patient` preset.

    Args:
        max_retries: retries of one target in one call after transient failures, 0 or more. 5: the user's choice.
        retry_delay: seconds before the first retry, doubled for each further one, 0 or more. 5: the user's choice.
        max_delay: longest wait in seconds; a vendor's hint beyond it means the next target. 60: the user's choice.
        jitter: "none" waits exactly min(retry_delay * 2**n, max_delay); "full" anything between 0 and that.
        deadline: seconds for a whole call, or None for no limit.
        attempt_timeout: most seconds for one attempt, the time between two pieces of a stream included. 60: as long
            as the longest wait.
        minimum_attempt: seconds that must be left after a wait for the retry to be worth it. 0.1: the time of a
            round trip and the first bytes of an answer over a long line.
        switch_on_content_blocked: whether the next provider is asked when a safety system refuses. Off: asking
            around until somebody answers is the caller's decision.

    Raises:
        ValueError: a number is out of its range.
    """

    max_retries: int = 5
    retry_delay: float = 5.0
    max_delay: float = 60.0
    jitter: Literal["none", "full"] = "none"
    deadline: float | None = None
    attempt_timeout: float = 60.0
    minimum_attempt: float = 0.1
    switch_on_content_blocked: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:
            raise ValueError(f"expected max_retries as a whole number of 0 or more, found {self.max_retries!r}")
        for name in ("retry_delay", "max_delay", "minimum_attempt"):
            _check_seconds(name, getattr(self, name), zero=True)
        _check_seconds("attempt_timeout", self.attempt_timeout, zero=False)
        if self.deadline is not None:
            _check_seconds("deadline", self.deadline, zero=False)
        if self.jitter not in ("none", "full"):
            raise ValueError(f"expected jitter as none or full, found {self.jitter!r}")

    @classmethod
    def patient(cls, **changes: Any) -> Policy:
        """The default: insist on the primary, as the user asked for; a quota error alone switches at once."""
        return replace(cls(), **changes)

    def backoff(self, retry: int) -> float:
        """Seconds before the retry of that number (from 0), without jitter: min(retry_delay * 2**retry, max_delay)."""
        return min(self.retry_delay * 2.0 ** min(retry, 64), self.max_delay)


class PolicyNumber(int):
    """A default that a signature shows as a plain number and that means "what the policy says"."""


def _check_seconds(name: str, value: float, *, zero: bool) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and value < float("inf")
    if not good or value < 0 or (value == 0 and not zero):
        raise ValueError(f"expected {name} in seconds, {'0 or more' if zero else 'more than 0'}, found {value!r}")
