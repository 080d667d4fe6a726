"""Healthy replies in Anthropic's shape, and the checks that Anthropic makes, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest

from understudy_sandbox import Sandbox

MODEL = "claude-haiku-4-5"
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello there"}]}
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string"}},
        "required": ["city", "days"],
    },
}
ANSWER = 'This is the Understudy sandbox standing in for Claude, not a real model. You said: "Hello there"'


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    raw = claude_client.messages.with_raw_response.create(**ASK)
    message = raw.parse()
    assert message.content[0].text == ANSWER
    assert (message.model, message.role, message.stop_reason) == (MODEL, "assistant", "end_turn")
    assert message.id.startswith("msg_01")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 17)
    assert raw.headers["x-understudy-sandbox"] == "stand-in"
    assert raw.headers["request-id"].startswith("req_01")
    [request] = sandbox.claude.requests
    assert (request.method, request.path, request.stream, request.fault) == ("POST", "/v1/messages", False, None)
    assert request.json == ASK
    assert "test-key" in request.headers["authorization"]
    assert "test-key" not in repr(request)


def test_stream_has_the_events_of_the_vendor_in_order(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    with claude_client.messages.create(**ASK, stream=True) as stream:
        events = list(stream)
    deltas = [event for event in events if event.type == "content_block_delta"]
    assert [event.type for event in events if event.type != "content_block_delta"] == [
        *("message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop")
    ]
    assert len(deltas) == 17
    assert "".join(event.delta.text for event in deltas) == ANSWER
    assert events[0].message.usage.input_tokens == 3
    assert events[-2].usage.output_tokens == 17
    assert events[-2].delta.stop_reason == "end_turn"
    assert sandbox.claude.requests[0].stream


def test_stream_is_named_events_with_a_ping(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    with claude_client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        names = [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert names[:3] == ["message_start", "content_block_start", "ping"]


def test_async_client(sandbox: Sandbox) -> None:
    async def talk() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=sandbox.claude.url, max_retries=0) as client:
            plain = await client.messages.create(**ASK)
            async with client.messages.stream(**ASK) as stream:
                streamed = await stream.get_final_text()
            return plain.content[0].text, streamed

    assert asyncio.run(talk()) == (ANSWER, ANSWER)


def test_scripted_text_comes_once(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    sandbox.claude.reply("Grüße ☕", "second")
    texts = [claude_client.messages.create(**ASK).content[0].text for _ in range(3)]
    assert texts == ["Grüße ☕", "second", ANSWER]


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_body_is_sent_as_it_is(sandbox: Sandbox, claude_client: anthropic.Anthropic, stream: bool) -> None:
    content = [
        {"type": "text", "text": "a b"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": "y: z, ü"}},
    ]
    usage = {"input_tokens": 7, "output_tokens": 9}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content}
    sandbox.claude.reply({**body, "stop_reason": "pause_turn", "stop_sequence": None, "usage": usage})
    if stream:
        with claude_client.messages.stream(**ASK) as events:
            message: Any = events.get_final_message()
    else:
        message = claude_client.messages.create(**ASK)
    assert (message.id, message.stop_reason, message.usage.output_tokens) == ("msg_1", "pause_turn", 9)
    assert message.content[0].text == "a b"
    assert message.content[1].input == {"x": "y: z, ü"}


def test_tool_is_called_only_when_the_text_names_it(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    quiet = claude_client.messages.create(**ASK, tools=[WEATHER])
    assert (quiet.stop_reason, quiet.content[0].type) == ("end_turn", "text")
    asked = ASK | {"messages": [{"role": "user", "content": "Use get_weather please"}]}
    message = claude_client.messages.create(**asked, tools=[WEATHER])
    [call] = message.content
    assert (message.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "get_weather")
    assert call.input == {"city": "...", "days": 1}
    assert call.id.startswith("toolu_01")


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"type": "any"}, "other"), ({"type": "tool", "name": "get_weather"}, "get_weather"), ({"type": "none"}, None)],
)
def test_tool_choice_decides(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, choice: Any, called: str | None
) -> None:
    other = {"name": "other", "input_schema": {"type": "object", "properties": {}}}
    message = claude_client.messages.create(**ASK, tools=[other, WEATHER], tool_choice=choice)
    assert [block.name for block in message.content if block.type == "tool_use"] == ([called] if called else [])


def test_tool_loop_streams_arguments_and_repeats_results(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    user = {"role": "user", "content": "get_weather!"}
    with claude_client.messages.stream(model=MODEL, max_tokens=100, messages=[user], tools=[WEATHER]) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    [call] = message.content
    assert len(fragments) > 2
    assert json.loads("".join(fragments)) == call.input == {"city": "...", "days": 1}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [user, {"role": "assistant", "content": [call.model_dump()]}, {"role": "user", "content": [result]}]
    for turn in turns[1]["content"]:
        turn.pop("caller", None)
    final = claude_client.messages.create(model=MODEL, max_tokens=100, messages=turns, tools=[WEATHER])
    assert final.content[0].text.endswith("The tools said: sunny")


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    output = {"format": {"type": "json_schema", "schema": schema}}
    message = claude_client.messages.create(**ASK, output_config=output)
    older = claude_client.messages.create(**ASK, extra_body={"output_format": output["format"]})
    assert message.content[0].text == older.content[0].text == '{"age":1}'


@pytest.mark.parametrize(
    ("model", "thinking"),
    [(MODEL, {"type": "enabled", "budget_tokens": 1024}), ("claude-opus-4-6", {"type": "adaptive"})],
)
def test_thinking_comes_first_and_is_signed(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, model: str, thinking: Any
) -> None:
    ask = ASK | {"max_tokens": 2000, "model": model, "thinking": thinking}
    message = claude_client.messages.create(**ask)
    thought, text = message.content
    assert (thought.type, text.type) == ("thinking", "text")
    assert thought.signature
    assert message.usage.output_tokens == 17 + message.usage.output_tokens_details.thinking_tokens
    with claude_client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].thinking == thought.thinking != ""
    assert streamed.content[0].signature


def test_omitted_thinking_keeps_its_signature(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "adaptive", "display": "omitted"}
    ask = ASK | {"model": "claude-opus-4-6", "output_config": {"effort": "low"}}
    message = claude_client.messages.create(**ask, thinking=thinking)
    assert message.content[0].thinking == ""
    assert message.content[0].signature


def test_stop_reasons(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    cut = claude_client.messages.create(**ASK | {"max_tokens": 3})
    assert (cut.content[0].text, cut.stop_reason, cut.usage.output_tokens) == ("This is the", "max_tokens", 3)
    stopped = claude_client.messages.create(**ASK, stop_sequences=["never", " standing"])
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == (
        "This is the Understudy sandbox",
        "stop_sequence",
        " standing",
    )


def test_attachments_are_named(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    message = claude_client.messages.create(**ASK | {"messages": [{"role": "user", "content": content}]})
    assert message.content[0].text.endswith('You said: "What is it?" You attached: image/png.')


def test_listings_and_counting_are_requests_too(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    assert "claude-haiku-4-5" in [model.id for model in claude_client.models.list()]
    assert claude_client.models.retrieve(MODEL).lifecycle == "active"
    assert claude_client.messages.count_tokens(model=MODEL, messages=ASK["messages"]).input_tokens == 3
    assert sandbox.claude.request_count == 3


TOOL_RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9", "content": "x"}]}
TOOL_USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
HELLO = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, 'first message must use the "user" role'),
        ({"messages": [{"role": "system", "content": "hi"}]}, "should be 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "must be non-empty"),
        ({"messages": [HELLO, TOOL_RESULT]}, "unexpected `tool_use_id` found in `tool_result` blocks: t9"),
        ({"messages": [HELLO, TOOL_USE, HELLO]}, "were found without `tool_result` blocks immediately after: t1"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "must be greater than `thinking.budget_tokens`"),
        ({"frequency_penalty": 1}, "frequency_penalty: Extra inputs are not permitted"),
    ],
)
def test_bad_requests_are_turned_away(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, change: dict[str, Any], complaint: str
) -> None:
    body = {name: value for name, value in (ASK | change).items() if value is not None}
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude_client.post("/v1/messages", cast_to=object, body=body)
    assert caught.value.type == "invalid_request_error"
    assert complaint in caught.value.api_message
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_unknown_model_missing_key_and_unknown_path(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: no-such-model"):
        claude_client.messages.create(**ASK | {"model": "no-such-model"})
    with pytest.raises(anthropic.NotFoundError):
        claude_client.post("/v1/nonsense", cast_to=object, body={})
    with pytest.raises(anthropic.AuthenticationError, match="x-api-key header is required"):
        claude_client.messages.create(**ASK, extra_headers={"Authorization": anthropic.Omit()})
