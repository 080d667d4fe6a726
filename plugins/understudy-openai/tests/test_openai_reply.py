"""Completions, translated without SDK and socket."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

from understudy import FinishReason, LLMResponse, Message, Request, Text, Thinking, ToolCall, Usage
from understudy.errors import ContentBlocked, EmptyResponse, MalformedResponse, Overloaded, RateLimited, ServerError
from understudy_openai.models import Endpoint
from understudy_openai.reply import response_of

REQUEST = Request(messages=(Message.user("Hello"),))
GROQ = Endpoint("groq")
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}


def _completion(content: Any = "Hi", finish_reason: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish_reason}
    usage = usage or {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c1", "object": "chat.completion", "model": "llama-9", "choices": [choice], "usage": usage}


def _read(body: Any, request: Request = REQUEST) -> LLMResponse:
    return response_of(body, {"X-Request-Id": "req_1"}, request, GROQ)


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("model_length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("a_reason_of_tomorrow", FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons(reason: str, finish_reason: FinishReason) -> None:
    response = _read(_completion(finish_reason=reason))
    assert response.finish_reason is finish_reason
    assert (response.content, response.model, response.request_id) == ("Hi", "llama-9", "req_1")
    assert response.provider_name == "groq"
    assert response.metadata == {"id": "c1", "finish_reason": reason}


@pytest.mark.parametrize(("reason", "kind"), [("error", ServerError), ("insufficient_system_resource", Overloaded)])
def test_a_reply_that_says_that_it_failed_is_none(reason: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=reason):
        _read(_completion(finish_reason=reason))


def test_tokens_and_their_parts() -> None:
    usage = {
        "prompt_tokens": 19,
        "completion_tokens": 139,
        "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 128},
    }
    assert _read(_completion(usage=usage)).usage == Usage(
        input_tokens=19, output_tokens=139, thinking_tokens=128, cache_read_tokens=7, cache_write_tokens=5
    )
    assert _read({**_completion(), "usage": None}).usage is None  # a server that does not count


def test_parts_come_in_order() -> None:
    response = _read(_completion(reasoning="Hm.", tool_calls=[CALL], finish_reason="tool_calls"))
    assert response.parts == (
        Thinking("Hm.", {"groq": {"reasoning": "Hm."}}),
        Text("Hi"),
        ToolCall(id="call_1", name="weather", arguments={"city": "Bern"}),
    )
    assert response.thinking == "Hm."
    assert _read(_completion(reasoning="Hm.", reasoning_content="Hm.")).thinking == "Hm."  # one text under two names


def test_contents_in_pieces_as_mistral_sends_them_where_it_thinks() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    said = [thinking, {"type": "text", "text": "H"}, {"type": "of_tomorrow"}, {"type": "text", "text": "i"}]
    assert _read(_completion(said)).parts == (Thinking("Hm."), Text("Hi"))


def test_citations_stay_with_their_text() -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": "https://x.example"}}]
    [text] = _read(_completion(annotations=cited)).parts
    assert text.provider_data == {"groq": {"annotations": cited}}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"id": None, "function": {"name": "weather", "arguments": ""}}, ToolCall(id=ANY, name="weather")),
        (
            {"id": "x", "function": {"name": "weather", "arguments": {"city": "Bern"}}},
            ToolCall(id="x", name="weather", arguments={"city": "Bern"}),
        ),
        (
            {**CALL, "extra_content": {"google": {"thought_signature": "s"}}},
            ToolCall(
                id="call_1",
                name="weather",
                arguments={"city": "Bern"},
                provider_data={"groq": {"extra_content": {"google": {"thought_signature": "s"}}}},
            ),
        ),
    ],
)
def test_calls_as_various_servers_send_them(call: Any, expected: ToolCall) -> None:
    response = _read(_completion(None, tool_calls=[call, {"id": "y", "type": "custom", "custom": {}}]))
    assert response.tool_calls == (expected,)
    assert response.finish_reason is FinishReason.TOOL_CALLS  # although the server says stop


def test_a_tool_call_cut_at_the_token_limit_is_left_out_with_a_warning() -> None:
    cut = {"id": "x", "function": {"name": "weather", "arguments": '{"city": "Be'}}
    response = _read(_completion(tool_calls=[cut], finish_reason="length"))
    assert response.tool_calls == ()
    assert [warning.setting for warning in response.warnings] == ["max_tokens"]
    with pytest.raises(MalformedResponse, match="found another shape"):
        _read(_completion(tool_calls=[cut], finish_reason="tool_calls"))


def test_a_refusal_is_no_answer() -> None:
    with pytest.raises(ContentBlocked, match=r"the model refused: No\.") as caught:
        _read(_completion(None, refusal="No."))
    assert (caught.value.code, caught.value.provider, caught.value.request_id) == ("refusal", "groq", "req_1")
    with pytest.raises(ContentBlocked, match="a content filter") as caught:
        _read(_completion("Ha", finish_reason="content_filter"))
    assert caught.value.code == "content_filter"


@pytest.mark.parametrize("content", ["", None, " \n", []])
def test_nothing_usable_is_an_empty_response(content: Any) -> None:
    with pytest.raises(EmptyResponse, match="max_tokens was used up before"):
        _read(_completion(content, reasoning_content="Hm.", finish_reason="length"))
    with pytest.raises(EmptyResponse, match=r"neither text nor a tool call came \(request"):
        _read(_completion(content))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        7,
        {"choices": []},
        {"choices": [{}]},
        {"choices": "text"},
        _completion(7),
        _completion(tool_calls=[{"id": "x", "function": {}}]),
        _completion(tool_calls=[{"id": "x", "function": {"name": "n", "arguments": "[1]"}}]),
    ],
)
def test_other_shapes_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected a") as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("groq", "req_1")


def test_odd_replies_that_hold_an_answer_are_taken() -> None:
    untold = _read(_completion(finish_reason=None))
    assert (untold.content, untold.finish_reason) == ("Hi", FinishReason.UNKNOWN)
    assert [warning.setting for warning in untold.warnings] == ["finish_reason"]
    assert _read(_completion([{"text": "x"}])).content == "x"
    assert _read(_completion(usage=[1])).usage is None
    empty = {"id": "x", "function": {"name": "n", "arguments": "[]"}}
    assert _read(_completion(tool_calls=[empty])).tool_calls == (ToolCall(id="x", name="n"),)


@pytest.mark.parametrize("error", [{"type": "server_error", "message": "failed"}, "failed", ["failed"]])
def test_an_error_in_a_reply_of_200_is_typed(error: Any) -> None:
    with pytest.raises(ServerError, match="failed") as caught:
        _read({"error": error})
    assert (caught.value.provider, caught.value.request_id) == ("groq", "req_1")


def test_an_error_that_carries_its_status_in_a_reply_of_200_is_typed() -> None:
    with pytest.raises(RateLimited, match="slow down") as caught:
        _read({"error": {"code": 429, "message": "slow down"}})
    assert (caught.value.provider, caught.value.status) == ("groq", 429)


def test_an_answer_under_a_schema_comes_parsed() -> None:
    request = Request(messages=REQUEST.messages, output_schema={"type": "object"})
    assert _read(_completion('{"age": 30}'), request).structured == {"age": 30}
    with pytest.raises(MalformedResponse, match="cut at max_tokens") as caught:
        _read(_completion('{"age": ', finish_reason="length"), request)
    assert caught.value.provider == "groq"
