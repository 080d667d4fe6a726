"""Models that think: the room that they are given, and what becomes of answers for which it was too small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    Finish,
    FinishReason,
    LLMFactory,
    LLMResponse,
    Message,
    Policy,
    Request,
    TextDelta,
    ThinkingDelta,
    Usage,
)
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy_ollama import OllamaProvider
from understudy_toolkit.thinking import MORE_ROOM, ROOM

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

    Ask = Callable[[OllamaProvider, Request], LLMResponse]

HELLO = (Message.user("Hello"),)
DEFAULT = Request(messages=HELLO, temperature=0.0, max_tokens=1024, timeout=20)
UNKNOWN = "qwen3-of-somebody"  # thinks, and no table here knows it
LEVELLED = "gpt-oss:20b"
PLAIN = "llama3.2"
ANSWERED = 'You said: "Hello"'
ONCE_MORE = f"once more, {MORE_ROOM}"
STREAMED = pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)
WHOLE = pytest.mark.parametrize("ask", ["generate", "agenerate"], indirect=True)


def _asked(max_tokens: int | None = 1024, model: str | None = None, **options: Any) -> Request:
    return Request(messages=HELLO, max_tokens=max_tokens, model=model, timeout=20, options={"ollama": options})


def _named(one: Any) -> str:
    if not isinstance(one, Request):
        return str(one).replace("'", "")
    return f"{one.model} {one.max_tokens} {dict(one.options['ollama'])}".replace("'", "")


def _sent(sandbox: Sandbox) -> tuple[Any, Any]:
    body = sandbox.ollama.requests[-1].json
    return body.get("think"), body.get("options", {}).get("num_predict")


# ---- room ----


def test_the_default_call_starves_without_room_and_is_answered_with_it(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    with pytest.raises(EmptyResponse):
        ask(provider, _asked(num_predict=1024))  # the caller's own limit, of thinking and answer
    assert _sent(sandbox) == (None, 1024)
    response = ask(provider, DEFAULT)
    assert ANSWERED in response.content
    assert (response.finish_reason, bool(response.thinking)) == (FinishReason.STOP, True)
    assert _sent(sandbox) == (None, 1024 + ROOM["medium"])


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (_asked(100), (None, 100 + ROOM["medium"])),
        (_asked(5000), (None, 5000 + ROOM["medium"])),
        (_asked(None), (None, None)),
        (_asked(100, think=True), (True, 100 + ROOM["medium"])),
        (_asked(100, think="high"), ("high", 100 + ROOM["high"])),
        (_asked(100, think=False), (False, 100)),
        (_asked(100, num_predict=-1), (None, -1)),
        (_asked(100, options={"num_predict": 50}), (None, 50)),
        (_asked(100, num_ctx=8192), (None, 8192)),
        (_asked(100, options={"num_ctx": 90}), (None, 100)),
        (_asked(100, PLAIN), (None, 100)),
        (_asked(100, "qwen3:4b-instruct-2507-q4_K_M"), (None, 100)),
        (_asked(100, UNKNOWN), (None, 100)),
        (_asked(100, "registry.ollama.ai/library/Qwen3:8b"), (None, 100 + ROOM["medium"])),
        # levels: little thinking for a short answer of which nothing else is said; it cannot be turned off
        (_asked(1024, LEVELLED), ("low", 1024 + ROOM["low"])),
        (_asked(1025, LEVELLED), (None, 1025 + ROOM["medium"])),
        (_asked(1024, LEVELLED, think="high"), ("high", 1024 + ROOM["high"])),
        (_asked(1024, LEVELLED, think=False), (False, 1024 + ROOM["medium"])),
    ],
    ids=_named,
)
def test_the_limit_has_room_where_the_model_thinks(
    request_: Request, sent: tuple[Any, Any], sandbox: Sandbox, provider: OllamaProvider
) -> None:
    most, told = request_.max_tokens, provider.thinking_room(request_)
    with suppress(EmptyResponse):  # of a limit that is too small: what was sent is what counts
        provider.generate(request_)
    assert _sent(sandbox) == sent
    assert told == (sent[1] - most if most is not None and sent[1] > most else 0)


def test_options_that_make_no_sense_have_no_room(provider: OllamaProvider) -> None:
    for options in ({"ollama": 5}, {"ollama": {"options": 5}}, {"ollama": {"num_ctx": "large"}}):
        request = Request(messages=HELLO, max_tokens=100, options=options)  # type: ignore[arg-type]
        assert provider.thinking_room(request) in (0, ROOM["medium"])


# ---- learned ----


def test_a_model_whose_answer_holds_thinking_has_room_from_then_on(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    assert provider.thinking_room(_asked(3000, UNKNOWN)) == 0
    assert ask(provider, _asked(3000, UNKNOWN)).thinking
    assert provider.thinking_room(_asked(3000, f"{UNKNOWN}:latest")) == ROOM["medium"]
    ask(provider, _asked(3000, UNKNOWN))
    assert _sent(sandbox) == (None, 3000 + ROOM["medium"])
    assert provider.thinking_room(_asked(3000, UNKNOWN, think=False)) == 0


def test_what_the_list_of_models_says_of_thinking_is_remembered(sandbox: Sandbox, provider: OllamaProvider) -> None:
    listed = {"models": [{"name": "mine:latest", "capabilities": ["thinking"]}, {"name": "llama3.2:latest"}]}
    sandbox.ollama.next(_replying(listed))
    assert provider.list_models() == ("mine:latest", "llama3.2:latest")
    assert [provider.thinking_room(_asked(9, model)) for model in ("mine", "llama3.2")] == [ROOM["medium"], 0]


def _replying(body: dict[str, Any]) -> Any:
    from understudy_sandbox import faults

    return faults.status(200, body)


# ---- once more ----

WAYS = ["generate", "stream", "agenerate", "astream"]


@pytest.fixture
def factory(sandbox: Sandbox) -> Iterator[LLMFactory]:
    settings = sandbox.environment() | {"OLLAMA_MODEL": UNKNOWN}
    policy = Policy.eager(stream_recovery="buffer")  # so that the caller does not hold what was thought the first time
    made = LLMFactory("ollama", [], settings=settings, policy=policy, extensions=[])
    yield made
    made.close()


def _call(factory: LLMFactory, way: str, **arguments: Any) -> tuple[LLMResponse, list[Any]]:
    async def gather() -> list[Any]:
        return [event async for event in factory.astream_content("Hello", **arguments)]

    async def answer() -> LLMResponse:
        return await factory.agenerate_content("Hello", **arguments)

    if way in ("generate", "agenerate"):
        whole = factory.generate_content("Hello", **arguments) if way == "generate" else asyncio.run(answer())
        return whole, []
    events = list(factory.stream_content("Hello", **arguments)) if way == "stream" else asyncio.run(gather())
    assert isinstance(events[-1], Finish)
    return events[-1].response, events


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_answer_by_its_length_is_asked_for_once_more_with_more_room(
    way: str, sandbox: Sandbox, factory: LLMFactory
) -> None:
    response, events = _call(factory, way)
    assert response.success
    assert ANSWERED in response.content
    first, second = response.attempts
    assert (type(first.failure), first.usage) == (EmptyResponse, Usage(input_tokens=2, output_tokens=1024))
    assert second.reason == ONCE_MORE
    limits = [request.json["options"]["num_predict"] for request in sandbox.ollama.requests]
    assert limits == [1024, 1024 + 4 * ROOM["medium"]]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) in ("", response.content)
    again, _ = _call(factory, way)  # nothing has to be learned twice
    assert [attempt.reason for attempt in again.attempts] == ["primary"]


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_an_answer_that_thinking_cut_is_asked_for_once_more(way: str, sandbox: Sandbox, factory: LLMFactory) -> None:
    response, _ = _call(factory, way, max_tokens=1403)  # three words more than it thinks
    first, second = response.attempts
    assert isinstance(first.failure, AnswerCutShort)
    assert first.usage == Usage(input_tokens=2, output_tokens=1403)  # as the server counted, which tells no thinking
    assert (second.reason, response.finish_reason) == (ONCE_MORE, FinishReason.STOP)
    assert ANSWERED in response.content


@STREAMED
def test_in_a_stream_whose_text_was_given_it_is_a_warning(ask: Ask, provider: OllamaProvider) -> None:
    response = ask(provider, _asked(1403, UNKNOWN))
    assert (response.content, response.finish_reason) == ("This is the", FinishReason.LENGTH)
    assert [warning.setting for warning in response.warnings] == ["max_tokens"]
    assert "thinking used up the limit" in str(response.warnings[0])


@WHOLE
def test_more_room_that_is_not_enough_is_the_end_of_it(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    adapted = Request(messages=HELLO, max_tokens=9, model=UNKNOWN, timeout=20, adaptation=MORE_ROOM)
    sandbox.ollama.reply(_cut("", 9 + 4 * ROOM["medium"]), _cut("So", 9 + 4 * ROOM["medium"]))
    with pytest.raises(EmptyResponse) as caught:
        ask(provider, adapted)
    assert caught.value.adaptation is None
    response = ask(provider, adapted)
    assert (response.content, [warning.setting for warning in response.warnings]) == ("So", ["max_tokens"])


def _cut(content: str, tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "thinking": "Hm. " * (tokens - len(content) // 5)}
    counts = {"prompt_eval_count": 7, "eval_count": tokens}
    return {"model": "m", "message": message, "done": True, "done_reason": "length", **counts}


def test_an_answer_as_long_as_it_may_be_was_not_cut_by_thinking(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    limit = 1024 + ROOM["medium"]
    sandbox.ollama.reply(_cut("word " * 1024, limit))
    response = ask(provider, DEFAULT)
    assert (response.finish_reason, response.warnings) == (FinishReason.LENGTH, ())


def test_an_answer_cut_by_the_callers_own_limit_is_told_as_cut_and_no_more(ask: Ask, provider: OllamaProvider) -> None:
    response = ask(provider, _asked(2000, num_predict=1403))
    assert (response.content, response.finish_reason) == ("This is the", FinishReason.LENGTH)
    assert response.warnings == ()


# ---- what to set ----


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (_asked(9, UNKNOWN), "set options={'ollama': {'think': False}}, or raise max_tokens"),
        (_asked(9, num_predict=100), "set options={'ollama': {'think': False}}, or raise num_predict"),
        (_asked(9, LEVELLED, num_predict=99, think=True), "set options={'ollama': {'think': 'low'}}, or raise num_pre"),
        (_asked(9, LEVELLED, num_predict=5, think="low"), "thinking used up the limit of 5 tokens; raise num_predict"),
        (_asked(9, LEVELLED, num_predict=5), "thinking used up the limit of 5 tokens; raise num_predict"),
    ],
    ids=_named,
)
def test_an_empty_answer_by_its_length_says_what_to_set(
    request_: Request, words: str, ask: Ask, provider: OllamaProvider
) -> None:
    with pytest.raises(EmptyResponse) as caught:
        ask(provider, request_)
    assert words in caught.value.message
    assert caught.value.adaptation == (MORE_ROOM if request_.model == UNKNOWN else None)  # a limit may be the caller's
    assert caught.value.usage is not None


def test_an_answer_without_thinking_is_cut_at_its_limit_and_not_asked_for_again(
    ask: Ask, provider: OllamaProvider
) -> None:
    response = ask(provider, _asked(3, PLAIN))
    assert (response.content, response.finish_reason, response.warnings) == ("This is the", FinishReason.LENGTH, ())


def test_a_model_that_answers_nothing_because_it_may_not_think_is_told_of(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    nothing = {"role": "assistant", "content": ""}
    sandbox.ollama.reply({"model": "m", "message": nothing, "done": True, "done_reason": "stop", "eval_count": 1})
    with pytest.raises(EmptyResponse, match="leave `think` out"):
        ask(provider, _asked(100, think=False))


# ---- the context window ----


def test_a_window_that_thinking_fills_is_told_with_what_to_set_and_asked_for_once(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.reply(_cut("", 4089))  # of a window of 4096 tokens, which the request knows nothing of
    with pytest.raises(EmptyResponse) as caught:
        ask(provider, DEFAULT)
    assert "the context window is full after 4096 tokens" in caught.value.message
    assert "set options={'ollama': {'num_ctx': 16384}} or more" in caught.value.message
    assert "set options={'ollama': {'think': False}}" in caught.value.message
    assert (caught.value.adaptation, caught.value.usage) == (None, Usage(input_tokens=7, output_tokens=4089))


def test_an_answer_that_the_window_cut_is_one_with_a_warning(ask: Ask, provider: OllamaProvider) -> None:
    response = ask(provider, _asked(100, PLAIN, num_ctx=5))
    assert (response.content, response.finish_reason) == ("This is the", FinishReason.LENGTH)
    assert [str(warning) for warning in response.warnings] == [
        "the context window is full after 5 tokens: the answer was cut; set options={'ollama': {'num_ctx': 16384}}"
    ]


def test_thinking_comes_before_the_text_and_is_streamed(provider: OllamaProvider) -> None:
    kinds = [type(event) for event in provider.stream(DEFAULT)]
    assert kinds == sorted(kinds, key=[ThinkingDelta, TextDelta, Finish].index)
    assert {ThinkingDelta, TextDelta, Finish} == set(kinds)
