"""Healthy replies in Cohere's shape, and the checks that Cohere makes, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Sandbox

cohere = pytest.importorskip("cohere", reason="the SDK of Cohere is not installed")

MODEL = "command-a-03-2025"
THINKER = "command-a-reasoning-08-2025"
HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
ANSWER = 'This is the Understudy sandbox standing in for Cohere, not a real model. You said: "Hello there"'
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


def short(events: list[Any]) -> list[str]:
    """The names of events, with runs of the same event as one."""
    names = [event.type for event in events]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, cohere_client: Any) -> None:
    reply = cohere_client.chat(model=MODEL, messages=HELLO)
    assert (reply.message.content[0].text, reply.message.role, reply.finish_reason) == (ANSWER, "assistant", "COMPLETE")
    assert reply.id
    for usage in (reply.usage.tokens, reply.usage.billed_units):
        assert (usage.input_tokens, usage.output_tokens) == (3, 17)
    [request] = sandbox.cohere.requests
    assert (request.method, request.path, request.stream) == ("POST", "/v2/chat", False)
    assert request.headers["authorization"] == "Bearer test-key"


def test_events_come_in_order(sandbox: Sandbox, cohere_client: Any) -> None:
    events = list(cohere_client.chat_stream(model=MODEL, messages=HELLO))
    assert short(events) == ["message-start", "content-start", "content-delta", "content-end", "message-end"]
    texts = [event.delta.message.content.text for event in events if event.type == "content-delta"]
    assert (len(texts), "".join(texts)) == (17, ANSWER)
    assert events[0].id
    assert (events[-1].delta.finish_reason, events[-1].delta.usage.tokens.output_tokens) == ("COMPLETE", 17)
    assert sandbox.cohere.requests[0].stream


def test_stream_says_that_it_is_done(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    _, body = send(f"{sandbox.cohere.url}/v2/chat", {"model": MODEL, "messages": HELLO, "stream": True})
    assert body.startswith("event: message-start\ndata: {")
    assert body.endswith("}\n\ndata: [DONE]\n\n")


def test_async_client(sandbox: Sandbox) -> None:
    async def talk() -> tuple[str, str]:
        url = sandbox.cohere.url
        async with cohere.AsyncClientV2(api_key="k", base_url=url, log_warning_experimental_features=False) as client:
            plain = await client.chat(model=MODEL, messages=HELLO)
            stream = client.chat_stream(model=MODEL, messages=HELLO)
            texts = [event.delta.message.content.text async for event in stream if event.type == "content-delta"]
            return plain.message.content[0].text, "".join(texts)

    assert asyncio.run(talk()) == (ANSWER, ANSWER)


def test_scripted_text_and_body(sandbox: Sandbox, cohere_client: Any, stream: bool) -> None:
    content = [{"type": "thinking", "thinking": "so so"}, {"type": "text", "text": "a b"}]
    message = {"role": "assistant", "content": content}
    sandbox.cohere.reply("Grüße ☕", {"id": "c1", "finish_reason": "ERROR", "message": message})
    texts, reason = [], None
    for _ in range(2):
        if stream:
            events = list(cohere_client.chat_stream(model=MODEL, messages=HELLO))
            deltas = [event.delta.message.content for event in events if event.type == "content-delta"]
            texts.append("".join(delta.text or "" for delta in deltas))
            reason = events[-1].delta.finish_reason
        else:
            reply = cohere_client.chat(model=MODEL, messages=HELLO)
            texts.append(reply.message.content[-1].text)
            reason = reply.finish_reason
    assert (texts, reason) == (["Grüße ☕", "a b"], "ERROR")


def test_tool_calls_have_a_plan(sandbox: Sandbox, cohere_client: Any) -> None:
    assert cohere_client.chat(model=MODEL, messages=HELLO, tools=[WEATHER]).finish_reason == "COMPLETE"
    asked = [{"role": "user", "content": "Use get_weather please"}]
    reply = cohere_client.chat(model=MODEL, messages=asked, tools=[WEATHER])
    [call] = reply.message.tool_calls
    assert (reply.finish_reason, reply.message.tool_plan) == ("TOOL_CALL", "I will use get_weather.")
    assert json.loads(call.function.arguments) == {"city": "...", "days": 1}
    assert call.id.startswith("get_weather_")
    events = list(cohere_client.chat_stream(model=MODEL, messages=asked, tools=[WEATHER]))
    assert short(events) == [
        *("message-start", "tool-plan-delta", "tool-call-start", "tool-call-delta", "tool-call-end", "message-end")
    ]
    pieces = [event.delta.message.tool_calls.function.arguments for event in events if event.type == "tool-call-delta"]
    assert len(pieces) > 1
    assert "".join(pieces) == call.function.arguments
    assert (events[0].delta.message.tool_plan, events[-1].delta.finish_reason) == ("", "TOOL_CALL")


@pytest.mark.parametrize(("choice", "called"), [("REQUIRED", True), ("NONE", False), (None, False)])
def test_tool_choice_decides(sandbox: Sandbox, cohere_client: Any, choice: str | None, called: bool) -> None:
    chosen = {"tool_choice": choice} if choice else {}
    reply = cohere_client.chat(model=MODEL, messages=HELLO, tools=[WEATHER], **chosen)
    assert bool(reply.message.tool_calls) is called


def test_results_are_repeated(sandbox: Sandbox, cohere_client: Any) -> None:
    user = {"role": "user", "content": "get_weather!"}
    calling = cohere_client.chat(model=MODEL, messages=[user], tools=[WEATHER]).message
    documents = [{"type": "document", "document": {"data": "rain"}}]
    for content, said in (("sunny", "sunny"), ([{"type": "text", "text": "hot"}], "hot"), (documents, "rain")):
        result = {"role": "tool", "tool_call_id": calling.tool_calls[0].id, "content": content}
        final = cohere_client.chat(model=MODEL, messages=[user, calling, result], tools=[WEATHER])
        assert said in final.message.content[0].text.rpartition("The tools said: ")[2]


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, cohere_client: Any) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    form = {"type": "json_object", "json_schema": schema}
    assert cohere_client.chat(model=MODEL, messages=HELLO, response_format=form).message.content[0].text == '{"age":1}'


def test_thoughts_come_first(sandbox: Sandbox, cohere_client: Any) -> None:
    ask: dict[str, Any] = {"model": THINKER, "messages": HELLO, "thinking": {"type": "enabled", "token_budget": 50}}
    thought, text = cohere_client.chat(**ask).message.content
    assert (thought.type, text.text) == ("thinking", ANSWER)
    events = list(cohere_client.chat_stream(**ask))
    deltas = [event.delta.message.content for event in events if event.type == "content-delta"]
    assert "".join(delta.thinking or "" for delta in deltas) == thought.thinking
    assert [event.index for event in events if event.type == "content-start"] == [0, 1]
    calling = cohere_client.chat(**ask | {"messages": [{"role": "user", "content": "get_weather"}]}, tools=[WEATHER])
    assert (calling.message.tool_plan, calling.message.content[0].type) == (None, "thinking")


@pytest.mark.parametrize(
    ("thinking", "limit", "text"),
    [
        (None, 1024, ""),
        (None, 1503, "This is the"),
        (None, 2000, ANSWER),
        ({"type": "enabled"}, 1500, ""),
        ({"token_budget": 100}, 103, "This is the"),
        ({"token_budget": 100}, 200, ANSWER),
        ({"token_budget": 9000}, 1500, ""),
        ({"type": "disabled"}, 20, ANSWER),
    ],
)
def test_thoughts_count_within_the_limit(
    sandbox: Sandbox, send: Callable[..., tuple[int, str]], thinking: Any, limit: int, text: str
) -> None:
    ask = {"model": THINKER, "messages": HELLO, "max_tokens": limit} | ({"thinking": thinking} if thinking else {})
    _, sent = send(f"{sandbox.cohere.url}/v2/chat", ask)
    body = json.loads(sent)
    said = [part["text"] for part in body["message"]["content"] if part["type"] == "text"]
    assert (said, body["finish_reason"]) == ([text] if text else [], "COMPLETE" if text == ANSWER else "MAX_TOKENS")
    tokens = body["usage"]["tokens"]
    assert tokens["output_tokens"] == tokens.get("reasoning_tokens", 0) + len(text.split())
    assert tokens["output_tokens"] <= limit


def test_a_limit_above_the_models_own_is_that(sandbox: Sandbox, cohere_client: Any) -> None:
    sandbox.cohere.reply("word " * 9000)
    long = cohere_client.chat(model=MODEL, messages=HELLO, max_tokens=20_000)
    assert (long.usage.tokens.output_tokens, long.finish_reason) == (8000, "MAX_TOKENS")


def test_finish_reasons(sandbox: Sandbox, cohere_client: Any) -> None:
    cut = cohere_client.chat(model=MODEL, messages=HELLO, max_tokens=3)
    assert (cut.message.content[0].text, cut.finish_reason) == ("This is the", "MAX_TOKENS")
    stopped = cohere_client.chat(model=MODEL, messages=HELLO, stop_sequences=[" standing"])
    assert (stopped.message.content[0].text, stopped.finish_reason) == (
        "This is the Understudy sandbox",
        "STOP_SEQUENCE",
    )


def test_attachments_are_named(sandbox: Sandbox, cohere_client: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    message = {"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}
    text = cohere_client.chat(model=MODEL, messages=[message]).message.content[0].text
    assert text.endswith("You attached: image/png.")


def test_listings_are_requests_too(sandbox: Sandbox, cohere_client: Any) -> None:
    assert MODEL in [model.name for model in cohere_client.models.list(endpoint="chat").models]
    assert cohere_client.models.get(MODEL).context_length == 256_000
    assert sandbox.cohere.request_count == 2


CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t9", "content": "x"}


@pytest.mark.parametrize(
    ("change", "status", "complaint"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"messages": []}, 400, "list of messages must not be empty"),
        ({"messages": [{"role": "developer", "content": "x"}]}, 400, "invalid role in messages at index 0"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "message must not be empty in a turn"),
        ({"messages": [*HELLO, RESULT]}, 400, "tool_call_id 't9' of the message at index 1 names no tool call"),
        ({"messages": [*HELLO, CALLING, *HELLO]}, 400, "missing tool results for tool calls: t1"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "t1", "function": {"arguments": "x"}}]}]},
            400,
            "must be a JSON object",
        ),
        ({"top_p": 0.5}, 422, "unknown field: parameter 'top_p' is not a valid field"),
        ({"temperature": 1.5}, 400, "temperature must be between 0 and 1 inclusive"),
        ({"p": 1}, 400, "p must be between 0.01 and 0.99"),
        ({"max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ({"stop_sequences": ["a"] * 6}, 400, "the maximum number of stop_sequences is 5"),
        ({"tool_choice": "auto", "tools": [WEATHER]}, 400, "tool_choice must be one of"),
        ({"tool_choice": "REQUIRED"}, 400, "tool_choice needs tools"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format.type must be"),
        ({"response_format": {"type": "json_object"}, "tools": [WEATHER]}, 400, "not supported with tools"),
        ({"thinking": {"type": "enabled"}}, 422, "thinking is not supported for model 'command-a-03-2025'"),
        ({"model": THINKER, "thinking": {"token_budget": 0}}, 400, "token_budget must be a positive integer"),
        ({"model": THINKER, "thinking": {"type": "on"}}, 400, "thinking.type must be"),
        (
            {"model": THINKER, "tool_choice": "REQUIRED", "tools": [WEATHER]},
            400,
            "tool_choice is not supported for this model",
        ),
        ({"model": "no-such-model"}, 404, "model 'no-such-model' not found, make sure"),
    ],
    ids=str,
)
def test_bad_requests_are_turned_away(
    sandbox: Sandbox, send: Callable[..., tuple[int, str]], change: dict[str, Any], status: int, complaint: str
) -> None:
    found, text = send(f"{sandbox.cohere.url}/v2/chat", {"model": MODEL, "messages": HELLO, **change})
    body = json.loads(text)
    assert (found, set(body)) == (status, {"id", "message"})
    assert complaint in body["message"]


def test_missing_key_and_unknown_path(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    url = sandbox.cohere.url
    assert send(f"{url}/v2/chat", {}, authorization="")[0] == 401
    assert send(f"{url}/v2/nonsense", {})[0] == send(f"{url}/v2/chat")[0] == 404
    assert send(f"{url}/v2/chat", [1])[0] == 400


def test_the_sdk_finds_its_key_through_the_environment(sandbox: Sandbox, sandbox_environment: dict[str, str]) -> None:
    url = sandbox_environment["CO_API_URL"]  # which the SDK reads only once, when it is imported
    with cohere.ClientV2(base_url=url, log_warning_experimental_features=False) as client:
        assert client.chat(model=MODEL, messages=HELLO).message.content[0].text == ANSWER
    assert sandbox_environment["COHERE_BASE_URL"] == url == sandbox.cohere.url
