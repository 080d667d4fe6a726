"""What can go wrong with a vendor, and which failures a provider may make of it: the table of the failure rules.

`fault(kind)` of a conformance class arranges one of these by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import understudy.errors as errors
from understudy.errors import Failure

HINT = 7.0  # seconds; what the fault "rate_limited_with_hint" tells the client to wait


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Args:
        says: what the vendor does, in words for people who build a stand-in.
        whole: the failures that a call for a whole answer may raise.
        streamed: the failures that a stream may raise.
    """

    says: str
    whole: tuple[type[Failure], ...]
    streamed: tuple[type[Failure], ...]


def _reply(says: str, *failures: type[Failure]) -> Fault:
    return Fault(says, failures, failures)


_NOT_AN_ANSWER = (errors.MalformedResponse, errors.EmptyResponse)
_BROKEN_OFF = (errors.StreamInterrupted, errors.ConnectionFailed)

FAULTS: Mapping[str, Fault] = {
    "rate_limited": _reply("429 without a hint when to come back", errors.RateLimited),
    "rate_limited_with_hint": _reply(f"429 that says to come back in {HINT:g} seconds", errors.RateLimited),
    "quota_exhausted": _reply("the account's quota or credit is used up", errors.QuotaExhausted),
    "overloaded": _reply("no room for the request: 503 or 529", errors.Overloaded),
    "server_error": _reply("500", errors.ServerError),
    "gateway_timeout": _reply("504", errors.Timeout),
    "authentication_failed": _reply("the key is not accepted", errors.AuthenticationFailed),
    "repeated_key": _reply("401 with the caller's key in its message", errors.AuthenticationFailed),
    "permission_denied": _reply("the key may not do this: 403", errors.PermissionDenied),
    "model_not_found": _reply("no such model: 404", errors.ModelNotFound),
    "context_too_long": _reply("the prompt does not fit into the context window", errors.ContextTooLong),
    "invalid_request": _reply("400, the request is wrong", errors.RequestRefused),
    "blocked": _reply("a safety system refuses", errors.ContentBlocked),
    "empty": _reply("200, sound, and without any content", errors.EmptyResponse),
    "redirected": _reply("307 to another address", errors.MalformedResponse, errors.ConnectionFailed),
    "bad_gateway": _reply("502 with a page of HTML", errors.ServerError, errors.Overloaded),
    "html": Fault(
        "200 with a page of HTML",
        (errors.MalformedResponse,),
        (errors.MalformedResponse, errors.StreamInterrupted),
    ),
    "malformed": Fault(
        "200 with JSON that is cut or broken",
        (errors.MalformedResponse,),
        (errors.MalformedResponse, errors.StreamInterrupted),
    ),
    "too_deep": Fault(
        "200 with JSON that is nested far too deep",
        (errors.MalformedResponse,),
        (errors.MalformedResponse, errors.StreamInterrupted),
    ),
    "null_object": Fault("200 with {}", _NOT_AN_ANSWER, (*_NOT_AN_ANSWER, errors.StreamInterrupted)),
    "empty_body": Fault("200 with no body", _NOT_AN_ANSWER, (*_NOT_AN_ANSWER, errors.StreamInterrupted)),
    "refused": _reply("nobody listens", errors.ConnectionFailed),
    "reset": _reply("the connection is reset before any reply", errors.ConnectionFailed),
    "cut_at_once": Fault(
        "the head of the reply, then the connection closes",
        (errors.ConnectionFailed, errors.MalformedResponse),
        _BROKEN_OFF,
    ),
    "cut": Fault(
        "half of the reply, the first token included, then the connection closes",
        (errors.ConnectionFailed, errors.MalformedResponse),
        _BROKEN_OFF,
    ),
    "stream_end": Fault(
        "half of the reply, the first token included, then a proper end without the end marker",
        (errors.MalformedResponse, errors.ConnectionFailed),
        (errors.StreamInterrupted,),
    ),
    "black_hole": _reply("the request is read and never answered", errors.Timeout),
    "stall_at_once": _reply("the head of the reply, then silence", errors.Timeout),
    "stall": _reply("half of the reply, the first token included, then silence", errors.Timeout),
    "dribble": _reply("a valid reply that trickles in, a few bytes now and then, for seconds", errors.Timeout),
}

SILENCES = ("black_hole", "stall_at_once", "stall")  # what only the client's own timeout ends
STREAM_BREAKS = ("cut", "stream_end")
RETRIED_BY_SDKS = (  # what the vendors' SDKs and HTTP libraries are known to ask again for on their own
    "rate_limited",
    "rate_limited_with_hint",
    "overloaded",
    "server_error",
    "gateway_timeout",
    "bad_gateway",
    "authentication_failed",
    "redirected",
    "reset",
    "cut_at_once",
    "cut",
)
KEY_TELLERS = ("authentication_failed", "repeated_key", "server_error", "malformed", "reset")
