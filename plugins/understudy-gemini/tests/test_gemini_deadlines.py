"""How long Google's servers may take is told to them, never less than they accept; the client keeps shorter times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from understudy import Finish, LLMFactory, LLMResponse, Message, Request
from understudy.errors import Timeout
from understudy_gemini import GeminiProvider
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
HELLO = (Message.user("hello"),)


TOLD = {2: "10", 5: "10", 9.5: "10", 10: "10", 10.2: "11", 75: "75", None: "60"}  # by the request's timeout, in seconds


def test_a_whole_answer_gets_its_time_but_never_less_than_ten_seconds(
    provider: GeminiProvider, sandbox: Sandbox, ask_whole: Ask
) -> None:
    ask_whole(provider, Request(messages=HELLO))  # so that making the client takes none of a short time
    for seconds, told in TOLD.items():
        assert ask_whole(provider, Request(messages=HELLO, timeout=seconds)).success
        assert sandbox.gemini.requests[-1].headers["x-server-timeout"] == told, seconds


def test_a_stream_gets_half_an_hour_since_its_time_is_for_each_piece(
    provider: GeminiProvider, sandbox: Sandbox, ask_stream: Ask
) -> None:
    for seconds in (5, 60):
        assert ask_stream(provider, Request(messages=HELLO, timeout=seconds)).success
        assert sandbox.gemini.requests[-1].headers["x-server-timeout"] == "1800", seconds


def test_the_client_gives_up_in_its_own_time(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    ask(provider, Request(messages=HELLO))
    sandbox.gemini.next(faults.black_hole())
    with pytest.raises(Timeout):
        ask(provider, Request(messages=HELLO, timeout=0.3))
    assert int(sandbox.gemini.requests[-1].headers["x-server-timeout"]) >= 10


def answer(factory: LLMFactory, streamed: bool, **options: Any) -> LLMResponse:
    if not streamed:
        return factory.generate_content("hello", **options)
    *_, last = factory.stream_content("hello", **options)
    assert isinstance(last, Finish)
    return last.response


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_short_deadline_with_a_fallback_is_no_matter(
    sandbox: Sandbox, sandbox_environment: dict[str, str], streamed: bool
) -> None:
    with LLMFactory("gemini", ["claude"], settings=sandbox_environment, extensions=[]) as factory:
        factory.warm_up()
        response = answer(factory, streamed, deadline=8)
    assert response.provider_name == "gemini"
    assert [attempt.outcome for attempt in response.attempts] == ["succeeded"]
    assert sandbox.claude.request_count == 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_deadline_that_is_refused_all_the_same_is_a_timeout(
    sandbox: Sandbox, sandbox_environment: dict[str, str], streamed: bool
) -> None:
    message = "Manually set deadline 8s is too short. Minimum allowed deadline is 10s."
    error = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    sandbox.gemini.always(faults.status(400, error))
    with LLMFactory("gemini", ["echo"], settings=sandbox_environment, extensions=[]) as factory:
        response = answer(factory, streamed, max_retries=0)
    assert response.provider_name == "echo"
    assert isinstance(response.attempts[0].failure, Timeout)
