"""Every number and choice of the decision procedure, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from understudy.target import Strategy

StreamRecovery: TypeAlias = Literal["raise", "restart", "continue", "buffer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long to insist and when to let the next provider take over. The defaults are the preset `patient`.

    Args:
        max_retries: retries of one target in one call after transient failures, 0 or more. 5: our choice.
        retry_delay: seconds before the first retry, doubled for each further one, 0 or more. 5: our choice;
            0.5 in `eager`, where a wait begins only when every target is in trouble.
        max_delay: longest wait in seconds; a longer hint from the vendor means the next target. 60: our choice;
            10 in `eager`, as gRPC's and AWS's clients bound theirs by seconds rather than minutes. If no other
            target is left, a shorter hint is waited for after a rate limit, too.
        jitter: "none" waits exactly min(retry_delay * 2**n, max_delay); "full" anything between 0 and that, so that
            many callers do not come back at the same moment (AWS's full jitter).
        switch_first: whether another target that may be asked is asked before this one is retried.

        quick_retries: retries of one target in one call that come soon, before another target is asked: after a failure
            that came fast, while the target is otherwise well. 0; 1 in `eager`: most failures of a healthy vendor are
            gone half a second later.

        deadline: seconds for a whole call, or None for no limit. None: only the caller
            knows how long a healthy answer takes.
        attempt_timeout: most seconds for a whole answer; None derives them from the request and from the target's past
            answers (docs/timeouts.md). A number is kept exactly.
        first_token_timeout: most seconds until a stream's first piece; None likewise.
        idle_timeout: most seconds between two pieces of a stream; None likewise.
        silence_timeout: most seconds without any sign of life from a vendor that sends such signs while it works.
            45: OpenAI sends one every 30 seconds, Anthropic more often.
        whole_answers: how a whole answer is requested: "auto": internally as a stream if it may take long and the
            provider streams, so that its pieces and the vendor's signs of life are seen; "stream": always so;
            "plain": never.
        minimum_attempt: seconds that must be left after a wait for the retry to be worth it. 0.1: the time of a
            round trip and the first bytes of an answer over a long line.

        switch_on_refusal: whether the next provider is asked when a vendor says that the request is wrong, and nothing
            says more exactly why. On: what one vendor refuses, another may still answer, and that answer carries a
            warning with the vendor's words.
        switch_on_content_blocked: whether the next provider is asked when a safety system refuses. Off: asking one
            provider after another until one answers is the caller's decision.
        switch_on_length: whether an answer that was cut at max_tokens is rejected and the next provider asked.
        stream_recovery: what happens when a stream breaks after its first piece. "raise" raises StreamInterrupted;
            "restart" informs the caller by a Restart event, and the next target answers from the beginning;
            "continue": the next target that declares `prefill` goes on after the last letter; "buffer" holds
            pieces back (see buffer_tokens), so that the caller sees nothing of a break among them.
        buffer_tokens: with "buffer", how many tokens are held back before the first is handed out, at 4 characters a
            token; None for the whole answer, which lets checks of the answer choose another target unnoticed.

        breaker: whether a target that keeps failing is left alone for a while (circuit breaker).
        breaker_failures: failed attempts in a row that open it; also how many attempts within breaker_window
            breaker_rate needs. 10: between Envoy's 5 errors in a row and the 100 calls that Polly and resilience4j
            need before a share counts; 8 in `eager`. Three in a row over a minute or more do, too.
        breaker_rate: share of failed attempts that opens it, above 0, at most 1. 0.5: resilience4j's default; 0.25 in
            `eager`, where another target is asked at once.
        breaker_window: seconds over which the share is taken, 1 or more. 30: Polly's default sampling duration.
        breaker_memory: seconds after which failures in a row are forgotten. 300: ten times the window.
        breaker_requests: distinct calls that the failures must come from, so that one bad prompt does not open
            it. 5; 3 in `eager`.
        breaker_open: seconds that it stays open after the first opening, doubled for each further one in a row. 5: a
            probe costs no caller anything if another target can be asked in parallel.
        breaker_longest: most seconds that it stays open. 8.5, so that a target is used again within 10 s of its
            recovery.
        breaker_jitter: share of these seconds that is added at random, so that a fleet does not probe as one. 0.1.
        breaker_successes: successful probes that close it. 1.

        quota_cooldown: whether a target that refused for its quota is left alone for a while. Off: the next call
            asks the primary again; on in `eager`.
        quota_calls: distinct recent calls that must have been refused, and at least as many as were answered, before
            a target cools down for others; a daily quota or an empty account counts at once. 3: one refusal says that
            one call came at a bad moment.
        longest_hint: most seconds that a target is left alone for a vendor's hint. 300; 8.8 in `eager`: a hint binds
            the call that received it, and one request finds out for the others.
        rate_limit_cooldown: seconds where the vendor gives no hint, doubled while it goes on, up to 8.8. 5: shorter
            than the minute over which vendors count.
        exhausted_cooldown: seconds after a daily quota or the credit is used up, doubled while it goes on. 300.
        longest_cooldown: most seconds of that. 3600.
        refusal_cooldown: seconds that a target rests which refused its key, a permission or its model, or, without
            quota_cooldown, twice in a row had a daily quota or credit that is used up; doubled while it goes on up to
            10 times as many; None for no rest. 30. Another key, model or URL is another target.

        retry_budget: share of the calls of the last 10 seconds that may be retries, over all calls of a factory.
            0.1: what Google's SRE book allows a client; 0.2 in `eager`, which is Finagle's.
        retry_reserve: retries a second that are allowed in addition. 10, Finagle's default, which a single caller
            never reaches; 2 in `eager`.
        max_concurrent_calls: how many calls may be under way in a factory before another is refused at once; None for
            any number (bulkhead).

        routing: in which order targets are asked: "ordered" as they were named, "fastest" the quicker of two drawn at
            random first, "cheapest" by their prices, or a Strategy of your own such as weighted({"gemini": 3}).
        hedge_after: seconds without an answer (in a stream: without a first piece) after which the next target is
            asked too, and whoever answers first is taken; "p95" for the time that 95 of 100 answers took; "late" when
            an answer is late by past measurements: four times that time, from 10 to 90 seconds, and when its share of
            a deadline is over. None: never; "late" in `eager`. A remote target is not asked in parallel with
            one on this machine, unless this is a number or "p95", or its share of a deadline is over.
        hedge_share: share of the calls that may be asked twice, the cap on what hedging costs. 0.05: what Dean and
            Barroso found enough in "The Tail at Scale". Requests in parallel with a probe, or with a target that turns
            out not to answer, do not count.
        hedge_cost: most US dollars that the second request may cost, by estimate; None for no such limit. Needs
            the extra "prices"; if the price is not known, nothing is asked twice.

    Raises:
        ValueError: a number is out of its range.
    """

    max_retries: int = 5
    retry_delay: float = 5.0
    max_delay: float = 60.0
    jitter: Literal["none", "full"] = "none"
    switch_first: bool = False
    quick_retries: int = 0

    deadline: float | None = None
    attempt_timeout: float | None = None
    first_token_timeout: float | None = None
    idle_timeout: float | None = None
    silence_timeout: float = 45.0
    whole_answers: Literal["auto", "stream", "plain"] = "auto"
    minimum_attempt: float = 0.1

    switch_on_refusal: bool = True
    switch_on_content_blocked: bool = False
    switch_on_length: bool = False
    stream_recovery: StreamRecovery = "raise"
    buffer_tokens: int | None = None

    breaker: bool = True
    breaker_failures: int = 10
    breaker_rate: float = 0.5
    breaker_window: float = 30.0
    breaker_memory: float = 300.0
    breaker_requests: int = 5
    breaker_open: float = 5.0
    breaker_longest: float = 8.5
    breaker_jitter: float = 0.1
    breaker_successes: int = 1

    quota_cooldown: bool = False
    quota_calls: int = 3
    longest_hint: float = 300.0
    rate_limit_cooldown: float = 5.0
    exhausted_cooldown: float = 300.0
    longest_cooldown: float = 3600.0
    refusal_cooldown: float | None = 30.0

    retry_budget: float = 0.1
    retry_reserve: float = 10.0
    max_concurrent_calls: int | None = None

    routing: str | Strategy = "ordered"
    hedge_after: float | Literal["p95", "late"] | None = None
    hedge_share: float = 0.05
    hedge_cost: float | None = None

    def __post_init__(self) -> None:
        for check, names in _CHECKS:
            for name in names:
                value = getattr(self, name)
                if (expected := check(value)) is not None:
                    raise ValueError(f"expected {name} {expected}, found {value!r}")

    @classmethod
    def patient(cls, **changes: Any) -> Policy:
        """The default: insist on the primary; only a quota error switches at once."""
        return replace(cls(), **changes)

    @classmethod
    def eager(cls, **changes: Any) -> Policy:
        """For services: never wait while a healthy provider is idle; wait only when every target is in trouble."""
        return replace(cls(**_EAGER), **changes)

    @classmethod
    def named(cls, name: str) -> Policy:
        """Return the preset of that name.

        Raises:
            ValueError: there is none.
        """
        preset = PRESETS.get(name.strip().lower()) if isinstance(name, str) else None
        if preset is None:
            raise ValueError(f"expected a policy among {', '.join(PRESETS)}, found {name!r}")
        return preset

    def backoff(self, retry: int) -> float:
        """Seconds before the retry of that number (from 0), without jitter: min(retry_delay * 2**retry, max_delay)."""
        return min(self.retry_delay * 2.0 ** min(retry, 64), self.max_delay)

    @property
    def preset(self) -> str | None:
        """The name of the preset that these numbers are, or None."""
        return next((name for name, preset in PRESETS.items() if preset == self), None)

    def explain(self) -> str:
        """Say in words what will happen after each failure, and the rest of what these numbers mean."""
        from understudy.explain.policy_text import explain_policy  # only people need the words

        return explain_policy(self)

    def __repr__(self) -> str:
        changed = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Policy({', '.join(changed)})"


class PolicyNumber(int):
    """A default that a signature shows as a plain number and that means "what the policy says"."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _seconds(value: Any) -> str | None:
    good = _is_number(value) and 0 <= value < float("inf")
    return None if good else "in seconds, 0 or more"


def _some_seconds(value: Any) -> str | None:
    good = _is_number(value) and 0 < value < float("inf")
    return None if good else "in seconds, more than 0"


def _whole_seconds(value: Any) -> str | None:
    good = _is_number(value) and 1 <= value < float("inf")  # attempts are counted by the second
    return None if good else "in seconds, 1 or more"


def _whole(least: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if good else f"as a whole number of {least} or more"

    return check


def _share(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value <= 1 else "as a share from 0 to 1"


def _some_share(value: Any) -> str | None:
    return None if _is_number(value) and 0 < value <= 1 else "as a share above 0, at most 1"


def _count(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value < float("inf") else "as a number of 0 or more"


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else "as True or False"


def _among(*choices: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in choices else f"as {', '.join(choices[:-1])} or {choices[-1]}"


def _or_none(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def optional(value: Any) -> str | None:
        expected = None if value is None else check(value)
        return None if expected is None else f"{expected}, or None"

    return optional


def _hedge_after(value: Any) -> str | None:
    good = value in ("p95", "late") or _some_seconds(value) is None
    return None if good else 'in seconds, more than 0, or "p95" or "late"'


def _routing(value: Any) -> str | None:
    return None if callable(value) or value in ROUTINGS else f"as {', '.join(ROUTINGS)}, or a function"


ROUTINGS = ("ordered", "fastest", "cheapest")

_CHECKS: tuple[tuple[Callable[[Any], str | None], tuple[str, ...]], ...] = (
    (_whole(0), ("max_retries", "quick_retries")),
    (_seconds, ("retry_delay", "max_delay", "minimum_attempt", "breaker_memory")),
    (_whole_seconds, ("breaker_window",)),
    (_seconds, ("breaker_open", "breaker_longest", "longest_hint", "longest_cooldown")),
    (_seconds, ("rate_limit_cooldown", "exhausted_cooldown")),
    (_some_seconds, ("silence_timeout",)),
    (_or_none(_some_seconds), ("deadline", "attempt_timeout", "first_token_timeout", "idle_timeout")),
    (_or_none(_some_seconds), ("refusal_cooldown",)),
    (_among("auto", "stream", "plain"), ("whole_answers",)),
    (_switch, ("switch_first", "switch_on_refusal", "switch_on_content_blocked", "switch_on_length")),
    (_switch, ("breaker", "quota_cooldown")),
    (_whole(1), ("breaker_failures", "breaker_requests", "breaker_successes", "quota_calls")),
    (_some_share, ("breaker_rate",)),
    (_share, ("breaker_jitter", "hedge_share")),
    (_count, ("retry_budget", "retry_reserve")),
    (_or_none(_whole(1)), ("buffer_tokens", "max_concurrent_calls")),
    (_or_none(_hedge_after), ("hedge_after",)),
    (_or_none(_count), ("hedge_cost",)),
    (_among("none", "full"), ("jitter",)),
    (_among("raise", "restart", "continue", "buffer"), ("stream_recovery",)),
    (_routing, ("routing",)),
)

_EAGER: dict[str, Any] = {
    "retry_delay": 0.5,
    "max_delay": 10.0,
    "jitter": "full",
    "switch_first": True,
    "quick_retries": 1,
    "breaker_failures": 8,
    "breaker_rate": 0.25,
    "breaker_requests": 3,
    "quota_cooldown": True,
    "retry_budget": 0.2,
    "retry_reserve": 2.0,
    "longest_hint": 8.8,
    "hedge_after": "late",
}

PRESETS = {"patient": Policy(), "eager": Policy(**_EAGER)}
