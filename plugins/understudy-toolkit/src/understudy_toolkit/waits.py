"""When a vendor says to come back, where that stands in the body: in a field, or in words. Nothing is sent or read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.classify import parse_retry_after, read_reset
from understudy.errors import Failure, QuotaFailure, TransientFailure

__all__ = ["told_wait"]

# Google's RetryInfo and ErrorInfo, gateways', Hugging Face's while a model is loaded.
_FIELDS = (
    *("retryDelay", "quotaResetDelay", "retry_after", "retry_after_seconds", "retryAfter", "resets_at"),
    "estimated_time",
)
_DEEPEST = 6  # objects and lists within each other
_SEARCHED = 4096  # characters
# "Please try again in 6m30.5s" (OpenAI, Groq), "please try again after 7 seconds" (Moonshot), "Please retry after 26
# seconds." (Azure), "Please retry in 37.5s", "Resets in 9h22m20s." (Google), "Please wait 120 seconds before retrying"
# (GitHub Models), "Try again in 60 seconds." (LiteLLM). Public reports, read 2026-12-01.
_WORDS = re.compile(
    r"(?:try again|retry|retrying|resets?|wait)\b[\s:]*(?:in|after|for|about|at least)?[\s:]*"
    r"((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\b\s*"
    r"|\d+(?:\.\d+)?(?:h|m(?=\d)))+)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"(ms|milli|[smhd])[a-z]*\s*", re.IGNORECASE)


def told_wait(kind: type[Failure], headers: Mapping[str, str], document: Any, message: str) -> float | None:
    """Return when to come back, in seconds: by the headers, else by a field of the body, else by its words.

    Args:
        kind: the failure; fields and words count only where it is one that passes.
        headers: the reply's headers, their names in any case.
        document: the reply's JSON; None where it is none.
        message: the words of the error.
    """
    told = parse_retry_after(headers)
    if told is not None or not issubclass(kind, QuotaFailure | TransientFailure):
        return told
    date = next((value for name, value in headers.items() if name.lower() == "date"), None)
    fields = [read_reset(_span(field), date) for field in _fields_in(document, _DEEPEST)]
    told = max((seconds for seconds in fields if seconds is not None), default=None)
    if told is not None:
        return told
    found = _WORDS.search(message[:_SEARCHED])
    if found is None:
        return None
    span = _UNIT.sub(lambda unit: {"milli": "ms"}.get(unit[1].lower(), unit[1].lower()), found[1])
    return read_reset("".join(span.split()))


def _fields_in(document: Any, deepest: int) -> Iterator[Any]:
    if isinstance(document, Mapping) and deepest:
        yield from (document[name] for name in _FIELDS if name in document)
        for value in document.values():
            yield from _fields_in(value, deepest - 1)
    elif isinstance(document, list) and deepest:
        for value in document:
            yield from _fields_in(value, deepest - 1)


def _span(field: Any) -> str:
    """Return what a field says as a text; a protobuf Duration may come as its members."""
    if isinstance(field, Mapping):
        return f"{field.get('seconds', 0)}s"
    return str(field) if isinstance(field, str | int | float) and not isinstance(field, bool) else ""
