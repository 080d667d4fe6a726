"""Plain replies, translated without SDK and socket."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Failure, FinishReason, LLMResponse, Message, Request, Text, Thinking, Tool, ToolCall, Usage
from understudy.errors import ContentBlocked, ContextTooLong, EmptyResponse, MalformedResponse, ServerError, Timeout
from understudy_cohere.wire import response_of

MODEL = "command-x"
REQUEST = Request(messages=(Message.user("Hello"),))
TEXT = {"type": "text", "text": "Hi"}
CALL = {"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}


def _reply(*content: Any, finish_reason: Any = "COMPLETE", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": [*content], **message}
    return {"id": "c-1", "message": said, "finish_reason": finish_reason, "usage": {"tokens": {"input_tokens": 3}}}


def _read(body: Any, request: Request = REQUEST) -> LLMResponse:
    return response_of(body, {"X-Debug-Trace-Id": "f520"}, request, MODEL)


@pytest.mark.parametrize(
    ("said", "finish_reason"),
    [
        ("COMPLETE", FinishReason.STOP),
        ("STOP_SEQUENCE", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("TOOL_CALL", FinishReason.TOOL_CALLS),
        ("A_REASON_OF_TOMORROW", FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons(said: str, finish_reason: FinishReason) -> None:
    response = _read(_reply(TEXT, finish_reason=said))
    assert response.finish_reason is finish_reason
    assert (response.content, response.model, response.request_id) == ("Hi", MODEL, "f520")
    assert response.metadata == {"id": "c-1", "finish_reason": said}


def test_what_was_counted_is_the_usage_and_what_was_billed_stands_beside_it() -> None:
    billed = {"input_tokens": 8, "output_tokens": 8}
    tokens = {"input_tokens": 503.0, "output_tokens": 40.0, "reasoning_tokens": 29.0}
    response = _read(_reply(TEXT) | {"usage": {"billed_units": billed, "tokens": tokens, "cached_tokens": 448.0}})
    assert response.usage == Usage(input_tokens=503, output_tokens=40, thinking_tokens=29, cache_read_tokens=448)
    assert response.metadata["billed_units"] == billed


NOTHING_TOLD = [
    *(None, {}, [1], 7, {"tokens": None, "billed_units": None}, {"tokens": {"input_tokens": 3}}),
    *({"tokens": {"input_tokens": 3, "output_tokens": count}} for count in (-1, None, "4", 1.5, float("inf"), True)),
]


@pytest.mark.parametrize("usage", NOTHING_TOLD, ids=str)
def test_a_usage_that_was_not_told_or_cannot_be_is_none(usage: Any) -> None:
    assert _read(_reply(TEXT) | {"usage": usage}).usage is None


def test_only_what_was_billed_is_better_than_nothing() -> None:
    billed = {"input_tokens": 2.0, "output_tokens": 8}
    assert _read(_reply(TEXT) | {"usage": {"billed_units": billed}}).usage == Usage(input_tokens=2, output_tokens=8)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"id": "c-1", "message": "internal server error"}, ServerError),
        ({"message": "too many tokens: size limit exceeded"}, ContextTooLong),
        ({"error": {"message": "blocked output"}}, ContentBlocked),
        ({"error": "something broke"}, ServerError),
    ],
)
def test_an_error_under_status_200_is_its_failure(body: Any, kind: type[Failure]) -> None:
    with pytest.raises(kind) as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("cohere", "f520")


def test_a_whole_reply_without_a_finish_reason_is_taken_with_a_warning() -> None:
    response = _read(_reply(TEXT, finish_reason=None))
    assert (response.content, response.finish_reason) == ("Hi", FinishReason.UNKNOWN)
    assert [warning.setting for warning in response.warnings] == ["finish_reason"]


def test_content_may_be_a_text_and_arguments_an_object_and_calls_without_ids_get_their_own() -> None:
    calls = [{"function": {"name": "weather", "arguments": {"city": 1}}}, {"function": {"name": "weather"}}]
    body = _reply(
        finish_reason="TOOL_CALL", tool_calls=[*calls, {**CALL, "function": {**CALL["function"], "arguments": "null"}}]
    )
    body["message"]["content"] = "Hi"
    response = _read(body)
    assert response.content == "Hi"
    assert [call.arguments for call in response.tool_calls] == [{"city": 1}, {}, {}]
    assert len({call.id for call in response.tool_calls}) == 3


def test_parts_come_in_order_and_thinking_keeps_its_block() -> None:
    thinking = {"type": "thinking", "thinking": "Hm."}
    response = _read(
        _reply(thinking, TEXT, {"type": "of_tomorrow"}, tool_plan="I will ask.", tool_calls=[CALL], field_of_tomorrow=1)
    )
    assert response.parts == (
        Thinking("Hm.", {"cohere": thinking}),
        Text("Hi"),
        Thinking("I will ask.", {"cohere": {"type": "tool_plan"}}),
        ToolCall(id="weather_1", name="weather", arguments={"city": "Bern"}),
    )
    assert response.thinking == "Hm.I will ask."


def test_a_reply_of_tool_calls_may_have_no_content_at_all() -> None:
    body = _reply(finish_reason="TOOL_CALL", tool_calls=[CALL])
    del body["message"]["content"]
    assert _read(body).tool_calls[0].id == "weather_1"


@pytest.mark.parametrize("arguments", [None, "", "{}"])
def test_a_call_may_come_without_arguments(arguments: Any) -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    assert _read(_reply(finish_reason="TOOL_CALL", tool_calls=[call])).tool_calls[0].arguments == {}


def test_a_tools_name_comes_back_as_the_request_has_it() -> None:
    request = Request(messages=REQUEST.messages, tools=(Tool(name="read-file"), Tool(name="write_file")))
    calls = [{**CALL, "function": {"name": name, "arguments": ""}} for name in ("read_file", "write_file", "other_one")]
    names = [call.name for call in _read(_reply(finish_reason="TOOL_CALL", tool_calls=calls), request).tool_calls]
    assert names == ["read-file", "write_file", "other_one"]


def test_citations_and_probabilities_are_kept_for_people() -> None:
    citations = [{"start": 0, "end": 2, "text": "Hi", "sources": []}]
    response = _read(_reply(TEXT, citations=citations) | {"logprobs": [{"token_ids": [1]}]})
    assert response.metadata["citations"] == citations
    assert response.metadata["logprobs"] == [{"token_ids": [1]}]
    assert response.parts == (Text("Hi"),)


def test_a_model_that_stopped_by_a_fault_is_no_answer() -> None:
    with pytest.raises(ServerError, match="the model stopped by ERROR") as caught:
        _read(_reply(TEXT, finish_reason="ERROR"))
    assert (caught.value.provider, caught.value.request_id, caught.value.code) == ("cohere", "f520", "ERROR")
    with pytest.raises(Timeout):
        _read(_reply(TEXT, finish_reason="TIMEOUT"))


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": " \n"}], [{"type": "thinking", "thinking": "Hm."}]])
def test_nothing_usable_is_an_empty_response(content: list[Any]) -> None:
    with pytest.raises(EmptyResponse, match="MAX_TOKENS"):
        _read(_reply(*content, finish_reason="MAX_TOKENS"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        7,
        _reply(TEXT, finish_reason=7),
        _reply(TEXT) | {"message": None},
        _reply("text"),
        _reply({"type": "text"}),
        _reply({"type": "text", "text": 7}),
        _reply({"type": "thinking", "thinking": 7}),
        _reply(TEXT, tool_plan=7),
        _reply(TEXT, tool_calls=[{}]),
        _reply(TEXT, tool_calls=[{**CALL, "id": None, "function": {}}]),
        _reply(TEXT, tool_calls=[{**CALL, "function": {"name": "weather", "arguments": "[]"}}]),
        _reply(TEXT, tool_calls=[{**CALL, "function": {"name": "weather", "arguments": '{"city'}}]),
        _reply(TEXT, tool_calls=[{**CALL, "function": {"name": "weather", "arguments": 7}}]),
        _reply(TEXT, tool_calls=[{**CALL, "function": {"name": "weather", "arguments": "[" * 100_000}}]),
        _reply({"text": "no type"}),
        _reply(7),
    ],
)
def test_other_shapes_are_malformed(body: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected a message") as caught:
        _read(body)
    assert (caught.value.provider, caught.value.request_id) == ("cohere", "f520")


def test_a_tool_call_cut_at_the_token_limit_is_left_out_with_a_warning() -> None:
    cut = {**CALL, "function": {"name": "weather", "arguments": '{"city": "Be'}}
    response = _read(_reply(TEXT, finish_reason="MAX_TOKENS", tool_calls=[CALL, cut]))
    assert len(response.tool_calls) == 1
    assert [warning.setting for warning in response.warnings] == ["max_tokens"]


def test_an_answer_under_a_schema_comes_parsed() -> None:
    request = Request(messages=REQUEST.messages, output_schema={"type": "object"})
    assert _read(_reply({"type": "text", "text": '{"age": 30}'}), request).structured == {"age": 30}
    with pytest.raises(MalformedResponse, match="cut at max_tokens") as caught:
        _read(_reply({"type": "text", "text": '{"age": '}, finish_reason="MAX_TOKENS"), request)
    assert caught.value.provider == "cohere"
