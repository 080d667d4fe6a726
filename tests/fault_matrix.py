"""What every fault of the sandbox leads to, for whole answers and for streams: the table that the outages play.

A row's fault meets every request to the primary; the fallback is healthy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from understudy import Failure, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
    Timeout,
)
from understudy_sandbox import faults

PATIENT_WAIT = 5.0  # seconds before the patient policy's first retry
LONGEST_QUICK_HINT = 2.0  # seconds: with a longer hint of the vendor's the eager policy does not retry at once


@dataclass(frozen=True)
class Outcome:
    """What becomes of a call whose primary has a fault.

    Args:
        failure: the primary's; None where it answers all the same.
        waits: what the patient policy waits before it asks the primary again, where one retry is allowed.
        final: whether nobody else is asked.
        begun: whether the caller of a stream holds a part of the answer then: the failure is its interruption's cause.
        hint: the seconds of the vendor's hint.
        heard: whether the requests arrive at the primary.
    """

    failure: type[Failure] | None
    waits: tuple[float, ...] = ()
    final: bool = False
    begun: bool = False
    hint: float | None = None
    heard: bool = True

    @property
    def is_quick(self) -> bool:
        """Whether the eager policy asks the primary once more, soon: it failed fast, and may be well again."""
        return bool(self.waits) and self.failure is not Timeout and (self.hint or 0.0) <= LONGEST_QUICK_HINT


@dataclass(frozen=True)
class Row:
    """One fault, and what it leads to: where nothing else is said, for whole answers as for streams."""

    fault: faults.Fault
    whole: Outcome
    stream: Outcome | None = None
    others: tuple[tuple[str, Row], ...] = ()  # by vendor, where what its stand-in says is another failure

    def __str__(self) -> str:
        return str(self.fault)

    def outcome(self, provider: str, streamed: bool) -> Outcome:
        row = dict(self.others).get(provider, self)
        return row.stream if streamed and row.stream is not None else row.whole

    def but(self, provider: str, whole: Outcome, stream: Outcome | None = None) -> Row:
        return replace(self, others=(*self.others, (provider, Row(self.fault, whole, stream))))


def retried(failure: type[Failure], hint: float | None = None) -> Outcome:
    return Outcome(failure, (max(PATIENT_WAIT, hint or 0.0),), hint=hint)


def switched(failure: type[Failure], hint: float | None = None) -> Outcome:
    return Outcome(failure, hint=hint)


def final(failure: type[Failure]) -> Outcome:
    return Outcome(failure, final=True)


def begun(failure: type[Failure]) -> Outcome:
    return Outcome(failure, final=True, begun=True)


FINE = Outcome(None)
UNREADABLE = switched(MalformedResponse)
UNREACHED = retried(ConnectionFailed)
LATE = retried(Timeout)
ENDLESS = retried(StreamInterrupted)  # the stream ends before anything of it is given
RETRY_AFTER_7 = {"retry-after": "7"}

MATRIX = [
    Row(faults.status(200, "hello"), UNREADABLE, ENDLESS),
    Row(faults.status(204), UNREADABLE),
    Row(faults.status(307, headers={"location": "/elsewhere"}), UNREADABLE),
    Row(faults.status(418, "I am a teapot"), switched(RequestRefused)),
    Row(faults.status(429, "slow down", RETRY_AFTER_7), switched(RateLimited, 7)),
    Row(faults.status(502, "gone"), retried(ServerError)),
    Row(faults.status(503, "not now", RETRY_AFTER_7), retried(Overloaded, 7)),
    Row(faults.status(529), retried(Overloaded)).but("gemini", retried(ServerError)),
    Row(faults.rate_limited(), switched(RateLimited)),
    Row(faults.rate_limited(retry_after=30), switched(RateLimited, 30)),
    Row(faults.quota_exhausted(), switched(QuotaExhausted)),
    Row(faults.billing(), switched(QuotaExhausted)),
    Row(faults.request_too_large(), switched(RequestTooLarge)).but("gemini", switched(ContextTooLong)),
    Row(faults.overloaded(), retried(Overloaded)),
    Row(faults.server_error(), retried(ServerError)),
    Row(faults.timeout(), retried(Timeout)),
    Row(faults.timeout(408), retried(Timeout)),
    Row(faults.authentication_failed(), switched(AuthenticationFailed)),
    Row(faults.permission_denied(), switched(PermissionDenied)),
    Row(faults.model_not_found(), switched(ModelNotFound)),
    Row(faults.context_too_long(), switched(ContextTooLong)),
    Row(faults.invalid_request(), switched(RequestRefused)),
    Row(faults.blocked(), final(ContentBlocked)),
    Row(faults.blocked("prompt"), final(ContentBlocked)),
    Row(faults.empty(), switched(EmptyResponse)),
    Row(faults.out_of_tokens(), switched(EmptyResponse)),
    Row(faults.stream_error(), retried(Overloaded)),
    Row(faults.stream_error(kind="rate_limited"), switched(RateLimited)),
    Row(faults.stream_error(after=2), retried(Overloaded), begun(Overloaded)),
    Row(faults.stream_end(0), UNREADABLE, ENDLESS),
    Row(faults.stream_end(after=2), UNREADABLE, begun(StreamInterrupted)),
    Row(faults.cut(0), UNREACHED),
    Row(faults.cut(after=2), UNREACHED, begun(ConnectionFailed)),
    Row(faults.cut_character(0), UNREACHED),
    Row(faults.cut_character(after=2), UNREACHED, begun(ConnectionFailed)),
    Row(faults.stall(0), LATE),
    Row(faults.stall(after=2), LATE, begun(Timeout)),
    Row(faults.reset(), UNREACHED),
    Row(faults.reset(after=2), UNREACHED, begun(ConnectionFailed)),
    Row(faults.refuse(), replace(UNREACHED, heard=False)),
    Row(faults.black_hole(), LATE),
    Row(faults.heartbeats(every=0.01), LATE),
    Row(faults.slow_first_token(0.05), FINE),
    Row(faults.slow_first_token(0.05, every=0.01), FINE),
    Row(faults.loading(0.05), FINE),
    Row(faults.dribble(0.003), FINE),
    Row(faults.dribble(0.0005, size=41), FINE),
    Row(faults.malformed_json(), UNREADABLE),
    Row(faults.malformed_json(after=2), UNREADABLE, begun(MalformedResponse)),
    Row(faults.html_page(), UNREADABLE),
    Row(faults.html_page(502), retried(ServerError)),
    Row(faults.empty_body(), UNREADABLE, ENDLESS),
    Row(faults.null_object(), UNREADABLE, ENDLESS).but("gemini", UNREADABLE),
    Row(faults.huge(1), FINE),
    Row(faults.wrong_content_type(), FINE),
]

AFTER_THE_FIRST_TOKEN = [row.fault for row in MATRIX if row.outcome("gemini", streamed=True).begun]
