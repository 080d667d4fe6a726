"""What an exception or a bare text is taken for where a plugin's own table knows nothing of it."""

import io
import urllib.error
from email.message import Message
from types import SimpleNamespace

import pytest

from understudy.classify import classify_exception, classify_text, parse_retry_after
from understudy.errors import ConnectionFailed, Overloaded, RateLimited, Timeout, UnknownFailure


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (
            RateLimited,
            [
                "Error 429: no",
                "quota exceeded",
                "Error code: insufficient_quota",
                "rate_limit_exceeded",
                "Rate limited",
                "RateLimitError: slow down",
                "RESOURCE_EXHAUSTED",
                "ResourceExhausted: no",
                "Too Many Requests",
                "TooManyRequestsError",
            ],
        ),
        (Timeout, ["timeout", "timed out", "read_timeout", "TimeoutError", "DEADLINE_EXCEEDED", "time-out"]),
        (ConnectionFailed, ["connection refused", "cannot connect", "api_connection_error", "ConnectionError: no"]),
        (UnknownFailure, ["misquotation", "Error 4290 lines", "quotations", "rate limitless", "a strange day", ""]),
    ],
)
def test_words_are_known_whole_and_joined_to_others(kind, texts):
    assert {text: type(classify_text(text)) for text in texts} == dict.fromkeys(texts, kind)


def test_the_hint_of_an_exception_of_urllibs_is_read():
    headers = Message()
    headers["Retry-After"] = "7"
    failure = classify_exception(urllib.error.HTTPError("http://x", 429, "no", headers, io.BytesIO()))
    assert (type(failure), failure.status, failure.retry_after) == (RateLimited, 429, 7.0)


class Refused(Exception):
    """As aiohttp's: the status and the headers are its own."""

    def __init__(self, status, headers):
        super().__init__("no")
        self.status = status
        self.headers = headers


def test_the_status_and_the_hint_of_an_exception_of_aiohttps_are_read():
    failure = classify_exception(Refused(503, {"Retry-After": "3"}))
    assert (type(failure), failure.status, failure.retry_after) == (Overloaded, 503, 3.0)


class Shy(Exception):
    """Has properties that are not there yet, and no words."""

    @property
    def response(self):
        raise RuntimeError("the request was never made")

    status_code = response

    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("headers", [{"retry-after": 5}, {b"retry-after": b"5"}, {5: None}, [], "none"])
def test_no_exception_is_too_odd_to_be_classified(headers):
    odd = Exception("no")
    odd.response = SimpleNamespace(status_code=429, headers=headers)
    failure = classify_exception(odd)
    assert type(failure) is RateLimited
    assert failure.retry_after == (5.0 if headers == {"retry-after": 5} else None)


def test_an_exception_without_words_goes_by_its_name():
    failure = classify_exception(Shy())
    assert (type(failure), failure.message) == (UnknownFailure, "Shy")


@pytest.mark.parametrize("date", ["Mon, 01 Jan 0001 00:00:00 -0000", "Fri, 31 Dec 9999 23:59:59 -2359", "soon", ""])
def test_a_date_that_cannot_be_read_is_no_hint(date):
    assert parse_retry_after({"Retry-After": date, "Date": date}) in (None, 0.0)


NOW = "Mon, 01 Jan 2029 00:00:00 GMT"  # of the replies below: 1861920000 s since 1970


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1m30.5s"}, 90.5),
        ({"retry-after": "Mon, 01 Jan 2029 00:01:00 GMT"}, 60.0),
        ({"retry-after": "2029-01-01T00:02:00Z"}, 120.0),
        ({"retry-after": "1861920007"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "1"}, 1.5),
        ({"x-ratelimit-reset-requests": "1m30.5s", "x-ratelimit-remaining-requests": "0"}, 90.5),
        ({"X-RateLimit-Reset-Tokens": "20ms", "X-RateLimit-Remaining-Tokens": "0"}, 0.02),
        ({"x-ratelimit-reset-requests-day": "33011.38", "x-ratelimit-remaining-requests-day": "0.0"}, 33011.38),
        ({"x-ratelimit-reset": "1861920042000", "x-ratelimit-remaining": "0"}, 42.0),
        ({"x-ratelimit-reset": "1861920042", "x-ratelimit-remaining": "0"}, 42.0),
        ({"ratelimit-reset": "9", "ratelimit-remaining": "0"}, 9.0),
        ({"x-ratelimit-reset-a": "1h2m3s", "x-ratelimit-remaining-a": "0", "x-ratelimit-remaining-b": "0"}, 3723.0),
        # What is not used up says nothing, and what is said outright comes first.
        ({"x-ratelimit-reset-tokens": "6m", "x-ratelimit-remaining-tokens": "10"}, None),
        ({"x-ratelimit-reset-tokens": "6m", "x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-reset-tokens": "6m"}, None),
        ({"x-ratelimit-reset-tokens": "6m", "x-ratelimit-remaining-tokens": "0", "retry-after": "0"}, 0.0),
        *(({"retry-after": odd}, None) for odd in ("soon", "-1", "inf", "nan", "5 s", "s", "1x", "9" * 400 + "s")),
    ],
)
def test_when_to_come_back_is_read_in_the_forms_that_vendors_use(headers, hint):
    assert parse_retry_after({**headers, "date": NOW}) == pytest.approx(hint)
