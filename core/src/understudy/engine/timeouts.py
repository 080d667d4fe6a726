"""How long to wait for an attempt: from the caller's limits, the request, and past latencies of the target.

A working vendor differs from a silent one. A vendor that sends signs of life while it works may take long, and is
abandoned soon after they stop; one that sends none gets several times as long as its answers are known to take.

No clock and no state of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import Pace

# Tokens of answer above which a whole answer is requested as a stream internally. At 50 tokens a second, about what
# hosted models write, 2,000 take 40 seconds: longer than a vendor's silence means anything.
LONG_ANSWER = 2000
INFINITE = float("inf")
UNLIMITED = 4096  # tokens that an answer may have where the caller names no limit

# Seconds before anything has been measured. A chat model begins within 30 s and writes 15 tokens a second at its
# slowest; models that think were seen silent for 120 s (Gemini) and at work for 300 (GPT-5, Claude Sonnet): reports of
# 2026.
_BEFORE_WRITING = 30.0
_SLOWEST = 15.0  # tokens a second
_FIRST, _FIRST_THINKING = 60.0, 600.0
_IDLE, _IDLE_THINKING = 60.0, 300.0
_LATE, _LATE_THINKING = 60.0, 540.0

# What was measured counts this many times: the 95th percentile of the answers, below a bound and above another.
_PATIENCE = 4.0
_LEAST, _MOST = 90.0, 600.0  # seconds for a whole answer: as long as the vendors' SDKs wait at most
_LEAST_FIRST, _LEAST_FIRST_THINKING = 30.0, 600.0
_LATENESS = 4.0
_LEAST_LATE, _LEAST_LATE_THINKING = 10.0, 540.0
_MOST_LATE, _MOST_LATE_THINKING = 90.0, 570.0

_BEATS = 1.5  # heartbeats: one that is half as late again is missing


@dataclass(frozen=True, slots=True)
class Learned:
    """How long a target's answers to one kind of request took, in seconds; later timeouts are derived from it.

    Each is None before there are 20 answers of that kind, and if the latest is more than an hour old.

    Args:
        answer_p95: 95 of 100 whole answers that were not requested as a stream.
        answer_median: half of them.
        first_p95: 95 of 100 first pieces of streams.
        first_median: half of them.
        gap_p95: the longest pauses in 95 of 100 streams.
        end_p95: 95 of 100 answers of either kind, to their end.
        end_median: half of them.
    """

    answer_p95: float | None = None
    answer_median: float | None = None
    first_p95: float | None = None
    first_median: float | None = None
    gap_p95: float | None = None
    end_p95: float | None = None
    end_median: float | None = None


NOTHING_LEARNT = Learned()


@dataclass(slots=True)  # not frozen: each attempt makes one
class Times:
    """How many seconds to wait for one attempt.

    Args:
        answer: for a whole answer; infinity if its pieces show that it goes on, and for a caller's own stream.
        first: until the first piece of a stream.
        idle: between two pieces.
        silence: without any sign of life, where the vendor sends some; infinity where it sends none.
        late: after which another target is asked in parallel, if the policy leaves that to past measurements.
        usual: what 95 of 100 answers (of a caller's stream: first pieces) took; None if that is not known.
    """

    answer: float
    first: float
    idle: float
    silence: float
    late: float
    usual: float | None = None


def is_long(policy: Policy, request: Request, pace: Pace) -> bool:
    """Return whether a whole answer should be requested as a stream."""
    if policy.whole_answers != "auto":
        return policy.whole_answers == "stream"
    return request.max_tokens is None or request.max_tokens > LONG_ANSWER or pace.thinks or pace.loading > 0


def times_for(
    policy: Policy,
    request: Request,
    pace: Pace,
    learned: Learned = NOTHING_LEARNT,
    *,
    streamed: bool,
    whole: bool,
) -> Times:
    """Return the times of one attempt.

    Args:
        policy: the numbers; explicit ones are kept exactly.
        request: what is asked.
        pace: what the provider knows in advance.
        learned: what the target's answers of this kind took.
        streamed: whether the answer comes as a stream.
        whole: whether the caller gets it in one piece.
    """
    thinks, loading, named = pace.thinks, pace.loading, policy.attempt_timeout
    silence = INFINITE if pace.heartbeat is None else max(policy.silence_timeout, _BEATS * pace.heartbeat)
    if not streamed:
        answer = named
        if answer is None:
            guess = _BEFORE_WRITING + (request.max_tokens or UNLIMITED) / _SLOWEST
            answer = (_bounded(learned.answer_p95, _PATIENCE, _LEAST, _MOST) or guess) + loading
        late = _late(learned.answer_p95, thinks)
        return Times(answer, INFINITE, INFINITE, INFINITE, late + loading, learned.answer_p95)
    first, idle = policy.first_token_timeout, policy.idle_timeout
    if first is None:
        least, start = (_LEAST_FIRST_THINKING, _FIRST_THINKING) if thinks else (_LEAST_FIRST, _FIRST)
        first = (_bounded(learned.first_p95, _PATIENCE, least, _MOST) or start) + loading
    if idle is None:
        least = _IDLE_THINKING if thinks else _IDLE
        idle = _bounded(learned.gap_p95, _PATIENCE, least, _MOST) or least
    if named is not None:
        first, idle = min(first, named), min(idle, named)
    late = _late(learned.first_p95, thinks)
    if pace.heartbeat is not None and thinks:
        late = first  # silence shows whether it works; the mere absence of a piece does not
    answer = named if whole and named is not None else INFINITE
    return Times(answer, first, idle, silence, late + loading, None if whole else learned.first_p95)


def _bounded(seconds: float | None, times: float, least: float, most: float) -> float | None:
    return None if seconds is None else min(max(times * seconds, least), most)


def _late(p95: float | None, thinks: bool) -> float:
    if thinks:
        return _bounded(p95, _LATENESS, _LEAST_LATE_THINKING, _MOST_LATE_THINKING) or _LATE_THINKING
    return _bounded(p95, _LATENESS, _LEAST_LATE, _MOST_LATE) or _LATE
