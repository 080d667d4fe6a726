"""How Gemini's answers end, and why its prompts are blocked: which is an end, and which a failure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy import Failure, FinishReason
from understudy.errors import (
    ContentBlocked,
    MalformedResponse,
    Overloaded,
    PermissionDenied,
    RequestRefused,
    ServerError,
    Timeout,
    UnsupportedRequest,
)

__all__ = ["FINISH_REASONS", "block_of", "ending_of"]

# finishReason (google-genai 3.6.1, types.FinishReason): how the answer ended, or which failure it is. RequestRefused is
# what another model would answer: Google holds back what it takes for somebody's text, where others do not
# (https://github.com/google-gemini/deprecated-generative-ai-js/issues/138), or a language that it does not take.
FINISH_REASONS: Mapping[str, FinishReason | type[Failure]] = {
    "FINISH_REASON_UNSPECIFIED": FinishReason.UNKNOWN,
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "BLOCKLIST": ContentBlocked,
    "ESCALATION": ContentBlocked,
    "IMAGE_PROHIBITED_CONTENT": ContentBlocked,
    "IMAGE_SAFETY": ContentBlocked,
    "MODEL_ARMOR": ContentBlocked,
    "PROHIBITED_CONTENT": ContentBlocked,
    "SAFETY": ContentBlocked,
    "SPII": ContentBlocked,
    "PUP_LIMITED_DISABLED": PermissionDenied,  # the account is limited, after others of its requests
    "IMAGE_RECITATION": RequestRefused,
    "LANGUAGE": RequestRefused,
    "RECITATION": RequestRefused,
    "MISSING_THOUGHT_SIGNATURE": UnsupportedRequest,
    "IMAGE_OTHER": MalformedResponse,
    "MALFORMED_FUNCTION_CALL": MalformedResponse,
    "MALFORMED_RESPONSE": MalformedResponse,
    "NO_IMAGE": MalformedResponse,
    "OTHER": MalformedResponse,
    "TOO_MANY_TOOL_CALLS": MalformedResponse,
    "UNEXPECTED_TOOL_CALL": MalformedResponse,
}


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# What a reason that is newer, or a relay's own, means by its words; the first that fits counts. One that says nothing
# of the kind is told as unknown.
_LIKELY: tuple[tuple[re.Pattern[str], FinishReason | type[Failure]], ...] = (
    (_words("recitation", "language", "copyright"), RequestRefused),
    (_words("safety", "block", "prohibit", "sensitive", "filter", "harm", "policy", "moderat"), ContentBlocked),
    (_words("malformed", "invalid", "unexpected", "missing", "no_"), MalformedResponse),
    (_words("overload", "unavailable", "capacity"), Overloaded),
    (_words("time_?out", "deadline"), Timeout),
    (_words("error", "abort", "cancel", "fail", "interrupt"), ServerError),
    (_words("length", "max", "limit", "window"), FinishReason.LENGTH),
)
# promptFeedback.blockReason (google-genai 3.6.1, types.BlockedReason): OTHER is told of harmless prompts, which other
# models answer (https://github.com/google-gemini/deprecated-generative-ai-python/issues/276). All else is a refusal.
_UNEXPLAINED = ("OTHER",)
_UNBLOCKED = ("", "BLOCKED_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")


def ending_of(told: str) -> FinishReason | type[Failure]:
    """Return how an answer ended, or which failure it is.

    Args:
        told: the finish reason, as it came.
    """
    known = FINISH_REASONS.get(told.upper())
    return known or next((meant for words, meant in _LIKELY if words.search(told)), FinishReason.UNKNOWN)


def block_of(told: Any) -> type[Failure] | None:
    """Return the failure of a prompt that is not answered; None where it is.

    Args:
        told: the reason for it, as it came.
    """
    if told is None or str(told).upper() in _UNBLOCKED:
        return None
    return RequestRefused if str(told).upper() in _UNEXPLAINED else ContentBlocked
