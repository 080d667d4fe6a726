"""The text form of faults: it reads back as the same fault, and says what is wrong with what is no fault."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy_sandbox import Fault, faults

NEEDED: dict[str, tuple[Any, ...]] = {"status": (503,), "slow_first_token": (1.5,), "dribble": (0.1,), "loading": (2,)}


@pytest.mark.parametrize("name", faults.ALL)
def test_every_fault_reads_back(name: str) -> None:
    fault = faults.ALL[name](*NEEDED.get(name, ()))
    assert fault.name == name
    assert faults.parse(str(fault)) == fault
    assert eval(repr(fault), {"faults": faults}) == fault
    assert (faults.ALL[name].__doc__ or "").strip()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("overloaded", faults.overloaded()),
        ("rate_limited retry_after=30", faults.rate_limited(retry_after=30)),
        ("rate_limited 30", faults.rate_limited(retry_after=30)),
        ("status 418", faults.status(418)),
        ("status 503 body='not now'", faults.status(503, "not now")),
        ("""status 503 headers='{"Retry-After": "7"}'""", faults.status(503, headers={"Retry-After": "7"})),
        ("""status 503 body='{"a": 1}'""", faults.status(503, {"a": 1})),
        ("stall after=2 seconds=0.5", faults.stall(after=2, seconds=0.5)),
        ("reset after=null", faults.reset()),
        ("  blocked   where=prompt ", faults.blocked("prompt")),
    ],
)
def test_parse(text: str, fault: Fault) -> None:
    assert faults.parse(text) == fault


def test_defaults_are_left_out() -> None:
    assert str(faults.rate_limited()) == "rate_limited"
    assert str(faults.stall(after=1, seconds=60)) == "stall"
    assert str(faults.status(503, "not now")) == "status code=503 body='not now'"


@settings(deadline=None, max_examples=50)  # a busy machine fails no test
@given(
    code=st.integers(200, 599),
    body=st.none() | st.text() | st.dictionaries(st.text(), st.integers() | st.text()),
    headers=st.none() | st.dictionaries(st.sampled_from(["retry-after", "x-a"]), st.sampled_from(["1", "true", "a b"])),
)
def test_any_status_reads_back(code: int, body: Any, headers: Any) -> None:
    fault = faults.status(code, body, headers)
    assert faults.parse(str(fault)) == fault


@settings(deadline=None, max_examples=50)  # a busy machine fails no test
@given(st.text())
def test_nonsense_raises_nothing_but_value_error(text: str) -> None:
    try:
        fault = faults.parse(text)
    except ValueError:
        return
    assert faults.parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "unknown fault ''; the known faults are: status, rate_limited"),
        ("rate_limit", "unknown fault 'rate_limit' (did you mean 'rate_limited'?)"),
        ("status", "'status' does not take ''; expected status(code"),
        ("overloaded now=1", "'overloaded' does not take 'now=1'; expected overloaded()"),
        ("status code=abc", "code must be a whole number, at least 200; found 'abc'"),
        ("status 600", "code must be an HTTP status from 200 to 599; found 600"),
        ("stall after=-1", "after must be a whole number, at least 0; found -1"),
        ("stall seconds=NaN", "seconds must be a number, at least 0; found 'NaN'"),
        ("stream_error kind=tired", "kind must be one of rate_limited,"),
        ("blocked where=nowhere", "where must be 'reply' or 'prompt'"),
        ("timeout 500", "code must be 408 or 504"),
        ("status 200 body=5", "body must be a string or a JSON object; found 5"),
        ("""status 200 headers='{"a b": "c"}'""", "cannot be sent as an HTTP header"),
        ("""status 200 headers='{"Content-Length": "1"}'""", "is set by the sandbox itself"),
        ("status 'unclosed", "cannot read the fault"),
    ],
)
def test_complaints(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        faults.parse(text)


def test_faults_can_be_sets_and_keys() -> None:
    assert len({faults.reset(), faults.reset(), faults.status(503, {"a": 1}), faults.status(503, {"a": 1})}) == 2
