"""The shared fallbacks of every plugin's own table: statuses, names of transport exceptions, hints, and words last.

No SDK is imported: exceptions of httpx, httpx2, aiohttp, requests and the like are recognised by the names of their
classes, because two copies of one HTTP library do not share them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from understudy import errors
from understudy.errors import Failure

if TYPE_CHECKING:
    from understudy.response import LLMResponse

# Most specific first: the first row that has the name of any class in its ancestry counts.
_MISCONFIGURED = frozenset(
    [
        "LocalProtocolError",
        "UnsupportedProtocol",
        "InvalidURL",
        "InvalidUrlClientError",
        "MissingSchema",
        "InvalidSchema",
        "UnicodeEncodeError",
        "DefaultCredentialsError",
        "RefreshError",
    ]
)
_TIMED_OUT = frozenset(
    ["TimeoutException", "Timeout", "TimeoutError", "APITimeoutError", "ServerTimeoutError", "DeadlineExceeded"]
)
_DISCONNECTED = frozenset(
    [
        "NetworkError",
        "RemoteProtocolError",
        "ProxyError",
        "ConnectionError",
        "ClientConnectionError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "APIConnectionError",
        "ChunkedEncodingError",
        "TransportError",
    ]
)
_UNREADABLE = frozenset(["JSONDecodeError", "UnknownApiResponseError", "ValidationError", "DecodingError"])


def _words(*words: str) -> re.Pattern[str]:
    """Match whole words, including those joined by "_" (insufficient_quota) and class names."""
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?:error)?(?![^\W_])", re.IGNORECASE)


_QUOTA_WORDS = _words(
    "429", "quota", "rate[ _-]?limit(?:s|ed|ing)?", "resource[ _-]?exhausted", "too[ _-]?many[ _-]?requests"
)
_TIMEOUT_WORDS = _words("timed?[ _-]?out", "deadline[ _-]?exceeded")
_CONNECTION_WORDS = _words("connect(?:ion|ing)?")


def classify_status(status: int) -> type[Failure]:
    """Return the failure that an HTTP status means when the body is no more specific.

    Args:
        status: 100 to 599; those below 400 are a malformed response, since a success was expected.
    """
    exact = _OF_STATUS.get(status)
    if exact is not None:
        return exact
    if status >= 500:
        return errors.ServerError
    return errors.RequestRefused if status >= 400 else errors.MalformedResponse


_OF_STATUS: Mapping[int, type[Failure]] = {
    401: errors.AuthenticationFailed,
    402: errors.QuotaExhausted,
    403: errors.PermissionDenied,
    404: errors.ModelNotFound,
    407: errors.ConnectionFailed,  # a proxy between us and the vendor
    408: errors.Timeout,
    409: errors.ServerError,  # a lock held elsewhere; the vendors' own SDKs retry it
    413: errors.ContextTooLong,
    425: errors.ServerError,
    429: errors.RateLimited,
    498: errors.AuthenticationFailed,
    499: errors.ServerError,
    503: errors.Overloaded,
    504: errors.Timeout,
    529: errors.Overloaded,
}


def classify_exception(exception: BaseException) -> Failure:
    """Turn any exception into a Failure, with the exception as its cause.

    An HTTP status that the exception carries comes first, then the types in its whole chain of causes (a mistake in
    the configuration shows only there). Words are the last resort, for exceptions that carry nothing else.

    Returns:
        The exception itself if it is already a Failure.
    """
    if isinstance(exception, Failure):
        return exception
    text = _text_of(exception)
    status, headers = _reply_of(exception)
    if status is not None:
        failure = classify_status(status)(text, status=status, retry_after=parse_retry_after(headers))
    else:
        kind = _classify_chain(exception)
        failure = kind(text) if kind is not None else classify_text(text, os_error=isinstance(exception, OSError))
    failure.__cause__ = exception
    return failure


def failure_of(response: LLMResponse) -> Failure:
    """Return why a response with success False is none: its own failure, or what its words are known by."""
    if isinstance(response.failure, BaseException):  # a provider may put any exception there
        return classify_exception(response.failure)
    return classify_text(str(response.error or response.failure or "no reason given"))


def _text_of(exception: BaseException) -> str:
    name = type(exception).__name__
    try:
        words = str(exception)
    except Exception:  # its __str__ raises
        return name
    return f"{name}: {words}" if words else name


def _reply_of(exception: BaseException) -> tuple[int | None, Mapping[str, str]]:
    response = _attribute(exception, "response")
    for name in ("status_code", "status", "code"):
        for holder in (exception, response):
            status = _attribute(holder, name)
            if isinstance(status, int) and 400 <= status <= 599:
                return int(status), _headers_of(response) or _headers_of(exception)
    return None, {}


def _headers_of(holder: Any) -> Mapping[str, str]:
    headers = _attribute(holder, "headers")
    try:
        return {str(name): str(value) for name, value in headers.items()}  # urllib's are not at a Mapping
    except Exception:
        return {}


def _attribute(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # a property that is not set yet, such as the request of a call that was never made
        return None


def _classify_chain(exception: BaseException) -> type[Failure] | None:
    chain = [{kind.__name__ for kind in type(link).__mro__} for link in _causes(exception)]
    for names, failure in (
        (_MISCONFIGURED, errors.ProviderUnavailable),
        (_TIMED_OUT, errors.Timeout),
        (_DISCONNECTED, errors.ConnectionFailed),
        (_UNREADABLE, errors.MalformedResponse),
    ):
        if any(names & ancestry for ancestry in chain):
            return failure
    return None


def _causes(exception: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = exception
    for _ in range(10):  # chains can be circular
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def classify_text(text: str, *, os_error: bool = False) -> Failure:
    """Turn a bare error text into a Failure by the few words that a three-method provider's errors are known by.

    Args:
        text: the provider's words.
        os_error: whether they come from an OSError, which is a failed connection unless the words say otherwise.
    """
    if _QUOTA_WORDS.search(text):
        return errors.RateLimited(text)
    if _TIMEOUT_WORDS.search(text):
        return errors.Timeout(text)
    if os_error or _CONNECTION_WORDS.search(text):
        return errors.ConnectionFailed(text)
    return errors.UnknownFailure(text)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return after how long the vendor says to come back: by `retry-after-ms`, `retry-after`, or the rate limit
    headers.

    Those are `x-ratelimit-reset` with any ending, read only where `x-ratelimit-remaining` with that ending is 0; a
    reset of 0 says nothing.

    Args:
        headers: the reply's headers, their names in any case.

    Returns:
        Seconds, 0 or more; the largest where there are several; None where none can be read. A date is measured from
        the reply's own Date header, so that a wrong clock here does not matter.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    date = lower.get("date")
    hints = [_seconds(lower.get("retry-after-ms"), 1000), read_reset(lower.get("retry-after"), date)]
    if hints == [None, None]:
        spent = [name for name, left in lower.items() if "ratelimit-remaining" in name and _seconds(left, 1) == 0]
        hints = [read_reset(lower.get(name.replace("remaining", "reset")), date) or None for name in spent]
    return max((hint for hint in hints if hint is not None), default=None)


def read_reset(value: str | None, date: str | None = None) -> float | None:
    """Read a point in time or a time span as the seconds until then.

    Args:
        value: a number of seconds, a span as Go writes it ("6m30.5s", "20ms"), a date of HTTP's or of ISO 8601, or the
            seconds or milliseconds since 1970.
        date: the reply's Date header.

    Returns:
        Seconds, 0 or more; None for anything else.
    """
    value = (value or "").strip()
    if _SPAN.fullmatch(value):
        value = str(sum(float(number) * _UNITS[unit] for number, unit in _SPAN_PART.findall(value)))
    seconds = _seconds(value, 1)
    if seconds is not None and seconds < _SINCE_1970:
        return seconds
    until = _timestamp(value) if seconds is None else seconds / (1000 if seconds > 100 * _SINCE_1970 else 1)
    if until is None:
        return None
    since = _timestamp(date or "")
    return max(0.0, until - (time.time() if since is None else since))


_SINCE_1970 = 1e9  # as a number of seconds it is the year 2001, and as a time span 32 years
_UNITS: Mapping[str, float] = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h|d)")
_SPAN = re.compile(rf"(?:{_SPAN_PART.pattern})+")


def _seconds(value: str | None, divisor: int) -> float | None:
    try:
        seconds = float(value or "") / divisor
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _timestamp(value: str) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None
