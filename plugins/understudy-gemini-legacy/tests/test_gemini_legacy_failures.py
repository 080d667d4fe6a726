"""What is the older SDK's own in the table of failures: the exceptions of what lies below it."""

from __future__ import annotations

import json

import pytest

from understudy import Failure
from understudy.errors import (
    ConnectionFailed,
    InvalidRequest,
    MalformedResponse,
    Overloaded,
    ProviderUnavailable,
    Timeout,
    UnknownFailure,
)
from understudy_gemini_legacy.failures import failure_of_exception


def raised(name: str, *bases: type[BaseException], text: str = "words") -> BaseException:
    """Make an exception as another library names it: two copies of one library do not share their classes."""
    exception: BaseException = type(name, bases or (Exception,), {})(text)
    return exception


def below(outer: BaseException, inner: BaseException) -> BaseException:
    """Make an exception as requests wraps those of urllib3: in its `except`, without a cause."""
    outer.__context__ = inner
    return outer


URLLIB3_TIMEOUT = type("TimeoutError", (Exception,), {})
REQUESTS_CONNECTION = type("ConnectionError", (OSError,), {})


@pytest.mark.parametrize(
    ("exception", "failure"),
    [
        (raised("ReadTimeoutError", URLLIB3_TIMEOUT), Timeout),
        (below(raised("ConnectionError", OSError), raised("ReadTimeoutError", URLLIB3_TIMEOUT)), Timeout),
        (raised("ConnectTimeout", REQUESTS_CONNECTION, type("Timeout", (OSError,), {})), Timeout),
        (TimeoutError(), Timeout),
        (raised("ConnectionError", OSError), ConnectionFailed),
        (below(raised("ConnectionError", OSError), raised("NewConnectionError", URLLIB3_TIMEOUT)), ConnectionFailed),
        (raised("NameResolutionError", type("NewConnectionError", (URLLIB3_TIMEOUT,), {})), ConnectionFailed),
        (raised("ProtocolError"), ConnectionFailed),
        (raised("IncompleteRead"), ConnectionFailed),
        (raised("SSLError"), ConnectionFailed),
        (raised("ProxyError"), ConnectionFailed),
        (raised("DecodeError"), MalformedResponse),
        (raised("LocationParseError", type("LocationValueError", (ValueError,), {})), ProviderUnavailable),
        (raised("InvalidURL", ValueError), ProviderUnavailable),
        (ImportError("No module named 'google'"), ProviderUnavailable),
        (TypeError("words"), InvalidRequest),
        (json.JSONDecodeError("Expecting value", "", 0), MalformedResponse),
        (ZeroDivisionError("never seen before"), UnknownFailure),
        (Overloaded("already ours"), Overloaded),
    ],
)
def test_an_exception(exception: BaseException, failure: type[Failure]) -> None:
    found = failure_of_exception(exception)
    assert type(found) is failure
    assert found.__cause__ is None
    assert found.__context__ is None
