"""That the fuzz session notices what it is there for, and a little of it on every run; `nox -s fuzz` has the rest."""

from __future__ import annotations

import logging
import pickle

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz import held
from fuzz.corpus import KEY
from fuzz.files import check_file, check_route, files, folder, routes
from fuzz.lane import Sent
from understudy import Finish, FinishReason, LLMResponse, TextDelta, errors
from understudy.masking import register_secret

SMALL = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
ANSWER = LLMResponse(True, "Hello", "x", finish_reason=FinishReason.STOP)


class Odd:
    """A provider whose answers are given to it."""

    def __init__(self, *events: object) -> None:
        self._events = events

    def stream(self, request: object) -> object:
        """Give the events, or raise what is among them."""
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event


class Asked:
    """As much of a request as is looked at."""

    whole = False


@SMALL
@given(files())
def test_a_file_is_read_or_refused(example: tuple[str, bytes]) -> None:
    check_file(example)


@SMALL
@given(routes())
def test_a_route_is_read_or_refused(example: tuple[object, object, object]) -> None:
    check_route(example)


@pytest.mark.parametrize(
    "response",
    [
        LLMResponse(True, " ", "x", finish_reason=FinishReason.STOP),
        LLMResponse(True, "Hello", "x"),
        LLMResponse(True, "Hello", "x", finish_reason=FinishReason.STOP, model=7),  # type: ignore[arg-type]  # wrong on purpose
        LLMResponse(True, "Hello", "x", finish_reason=FinishReason.STOP, request_id=[]),  # type: ignore[arg-type]  # likewise
        LLMResponse(True, "Invented", "x", finish_reason=FinishReason.STOP),
    ],
    ids=["empty", "no reason", "model", "request id", "text of nobody"],
)
def test_an_answer_that_breaks_a_promise_is_noticed(response: LLMResponse) -> None:
    sent = Sent(200, (), b'{"text": "Hello"}')
    held.check_answer(ANSWER, sent)
    with pytest.raises(AssertionError):
        held.check_answer(response, sent)


@pytest.mark.parametrize(
    "failure",
    [
        KeyError("choices"),
        errors.UnknownFailure("who knows"),
        errors.ServerError("x", status=7),
        errors.ServerError("x", retry_after=float("nan")),
        errors.ServerError("x", code=[]),  # type: ignore[arg-type]  # likewise
    ],
    ids=["not ours", "unknown", "status", "moment", "code"],
)
def test_a_failure_that_breaks_a_promise_is_noticed(failure: Exception) -> None:
    held.check_failure(errors.ServerError("x", status=500, retry_after=1.0))
    with pytest.raises(AssertionError):
        held.check_failure(failure)


def test_a_stream_that_breaks_a_promise_is_noticed() -> None:
    finish = Finish(ANSWER)
    held.check(held.stream(Odd(TextDelta("Hel"), TextDelta("lo"), finish), Asked()))
    for events in ([TextDelta("Hel"), finish], [TextDelta("Hello"), TextDelta(""), finish], [TextDelta("Hello")]):
        with pytest.raises(AssertionError):
            held.check(held.stream(Odd(*events), Asked()))
    again = held.stream(Odd(finish, TextDelta("Hello")), Asked())
    assert isinstance(again.failure, AssertionError)


def test_keys_in_logs_and_too_much_memory_are_noticed() -> None:
    with pytest.raises(AssertionError, match="key"), held.listening():
        logging.getLogger("understudy.fuzz").warning("sent with %s", KEY)
    with pytest.raises(AssertionError, match="bytes"), held.within(1_000, 2**20):
        assert bytearray(2**22)


def test_a_failure_has_words_that_can_be_kept() -> None:
    register_secret(KEY)
    failure = errors.ServerError(f"half \ud83d of a character, {KEY} " + "x" * 10**6, code="\udfff")
    str(failure).encode()
    assert KEY not in str(failure)
    assert len(str(failure)) < 10_200
    assert str(pickle.loads(pickle.dumps(failure))) == str(failure)


def test_a_number_that_is_too_long_is_no_toml() -> None:
    check_file(("understudy.toml", b"[limits.groq]\nrequests_per_minute = " + b"9" * 5_000))
    assert (folder() / "understudy.toml").exists()
