"""Healthy replies of Chat Completions, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Sandbox

openai = pytest.importorskip("openai", reason="the SDK of OpenAI is not installed")

MODEL = "gpt-4.1-mini"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello there"}]}
ANSWER = 'This is the Understudy sandbox standing in for OpenAI, not a real model. You said: "Hello there"'
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, openai_client: Any) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(**ASK)
    reply = raw.parse()
    [choice] = reply.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (ANSWER, "assistant", "stop")
    assert (reply.model, reply.object) == (MODEL, "chat.completion")
    assert reply.id.startswith("chatcmpl-")
    usage = reply.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 17, 20)
    assert raw.headers["x-understudy-sandbox"] == "stand-in"
    assert raw.headers["x-request-id"].startswith("req_")
    [request] = sandbox.openai.requests
    assert (request.method, request.path, request.stream) == ("POST", "/v1/chat/completions", False)
    assert request.json == ASK
    assert request.headers["authorization"] == "Bearer test-key"


@pytest.mark.parametrize("counted", [False, True])
def test_stream_ends_with_reason_and_usage_for_who_wants_it(
    sandbox: Sandbox, openai_client: Any, counted: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if counted else {}
    with openai_client.chat.completions.create(**ASK, stream=True, **options) as events:
        chunks = list(events)
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.total_tokens for usage in usages] == ([20] if counted else [])
    chunks = [chunk for chunk in chunks if chunk.choices]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 18 + ["stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert sandbox.openai.requests[0].stream


def test_stream_is_data_lines_and_says_that_it_is_done(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    _, body = send(f"{sandbox.openai.url}/v1/chat/completions", {**ASK, "stream": True})
    lines = body.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: {") for line in lines[:-2])
    assert "usage" not in body


def test_async_client(sandbox: Sandbox) -> None:
    async def talk() -> tuple[str | None, str]:
        url = f"{sandbox.openai.url}/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            plain = await client.chat.completions.create(**ASK)
            async with await client.chat.completions.create(**ASK, stream=True) as events:
                streamed = "".join([event.choices[0].delta.content or "" async for event in events])
            return plain.choices[0].message.content, streamed

    assert asyncio.run(talk()) == (ANSWER, ANSWER)


def test_scripted_text_comes_once(sandbox: Sandbox, openai_client: Any) -> None:
    sandbox.openai.reply("Grüße ☕")
    texts = [openai_client.chat.completions.create(**ASK).choices[0].message.content for _ in range(2)]
    assert texts == ["Grüße ☕", ANSWER]


def test_scripted_body_is_sent_as_it_is(sandbox: Sandbox, openai_client: Any, stream: bool) -> None:
    message = {"role": "assistant", "reasoning_content": "so so", "content": "a b"}
    choice = {"index": 0, "message": message, "finish_reason": "content_filter"}
    sandbox.openai.reply({"id": "c1", "model": "m", "choices": [choice], "usage": {"total_tokens": 5}})
    if not stream:
        reply = openai_client.chat.completions.create(**ASK)
        assert (reply.id, reply.choices[0].message.reasoning_content, reply.usage.total_tokens) == ("c1", "so so", 5)
        return
    events = list(openai_client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    deltas = [event.choices[0].delta for event in events if event.choices]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "so so"
    assert "".join(delta.content or "" for delta in deltas) == "a b"
    assert (events[-2].choices[0].finish_reason, events[-1].usage.total_tokens) == ("content_filter", 5)


def test_tool_is_called_only_when_the_text_names_it(sandbox: Sandbox, openai_client: Any) -> None:
    quiet = openai_client.chat.completions.create(**ASK, tools=[WEATHER]).choices[0]
    assert (quiet.finish_reason, quiet.message.tool_calls) == ("stop", None)
    asked = ASK | {"messages": [{"role": "user", "content": "Use get_weather please"}]}
    choice = openai_client.chat.completions.create(**asked, tools=[WEATHER]).choices[0]
    [call] = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, call.type) == ("tool_calls", None, "function")
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "...", "days": 1})
    assert call.id.startswith("call_")


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", "other"),
        ({"type": "function", "function": {"name": "get_weather"}}, "get_weather"),
        ("none", None),
        ("auto", None),
    ],
    ids=str,
)
def test_tool_choice_decides(sandbox: Sandbox, openai_client: Any, choice: Any, called: str | None) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    reply = openai_client.chat.completions.create(**ASK, tools=[other, WEATHER], tool_choice=choice)
    calls = reply.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ([called] if called else [])


def test_tool_loop_streams_arguments_and_repeats_results(sandbox: Sandbox, openai_client: Any) -> None:
    user = {"role": "user", "content": "get_weather and other"}
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    tools = [WEATHER, other]
    events = openai_client.chat.completions.create(model=MODEL, messages=[user], tools=tools, stream=True)
    deltas = [one for event in events for one in event.choices[0].delta.tool_calls or []]
    names = [(delta.index, delta.function.name) for delta in deltas if delta.id]
    assert names == [(0, "get_weather"), (1, "other")]
    spelled = "".join(delta.function.arguments for delta in deltas if delta.index == 0)
    assert json.loads(spelled) == {"city": "...", "days": 1}
    assert len(deltas) > 4
    calls = openai_client.chat.completions.create(model=MODEL, messages=[user], tools=tools).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": text}
        for call, text in zip(calls.tool_calls, ["sunny", "42"], strict=True)
    ]
    turns = [user, calls.model_dump(exclude_none=True), *results]
    final = openai_client.chat.completions.create(model=MODEL, messages=turns, tools=tools)
    assert final.choices[0].message.content.endswith("The tools said: sunny, 42")


def test_one_call_at_a_time_where_that_is_asked_for(sandbox: Sandbox, openai_client: Any) -> None:
    ask = ASK | {"messages": [{"role": "user", "content": "get_weather, other"}]}
    tools = [WEATHER, {"type": "function", "function": {"name": "other"}}]
    reply = openai_client.chat.completions.create(**ask, tools=tools, parallel_tool_calls=False)
    assert len(reply.choices[0].message.tool_calls) == 1


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, openai_client: Any) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    closed = {"name": "person", "strict": True, "schema": {**schema, "additionalProperties": False}}
    form = {"type": "json_schema", "json_schema": closed}
    assert openai_client.chat.completions.create(**ASK, response_format=form).choices[0].message.content == '{"age":1}'
    asked = ASK | {"messages": [{"role": "user", "content": "JSON please"}]}
    reply = openai_client.chat.completions.create(**asked, response_format={"type": "json_object"})
    assert reply.choices[0].message.content == "{}"


def test_reasoning_is_counted_and_not_shown(sandbox: Sandbox, openai_client: Any) -> None:
    ask = ASK | {"model": "gpt-5.6-terra"}
    spent = []
    for effort in ("none", "low", "medium", "high", "xhigh"):
        reply = openai_client.chat.completions.create(**ask, reasoning_effort=effort)
        assert reply.choices[0].message.content == ANSWER
        spent.append(reply.usage.completion_tokens_details.reasoning_tokens)
        assert reply.usage.completion_tokens == 17 + spent[-1]
    assert (spent, spent[0]) == (sorted(set(spent)), 0)
    unsaid = openai_client.chat.completions.create(**ask)
    assert unsaid.usage.completion_tokens_details.reasoning_tokens == spent[2]
    never = openai_client.chat.completions.create(**ASK)
    assert never.usage.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize(("limit", "text"), [(1024, ""), (1232, ""), (1235, "This is the"), (1400, ANSWER)])
def test_reasoning_counts_within_the_limit(sandbox: Sandbox, openai_client: Any, limit: int, text: str) -> None:
    reply = openai_client.chat.completions.create(**ASK | {"model": "gpt-6-luna"}, max_completion_tokens=limit)
    assert reply.choices[0].message.content == text
    assert reply.choices[0].finish_reason == ("stop" if text == ANSWER else "length")
    assert reply.usage.completion_tokens == min(limit, 1249)
    assert reply.usage.completion_tokens_details.reasoning_tokens == min(limit, 1232)


def test_finish_reasons(sandbox: Sandbox, openai_client: Any) -> None:
    for limit in ("max_tokens", "max_completion_tokens"):
        choice = openai_client.chat.completions.create(**ASK, **{limit: 3}).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("This is the", "length")
    for stop in (" standing", ["never", " standing"]):
        choice = openai_client.chat.completions.create(**ASK, stop=stop).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("This is the Understudy sandbox", "stop")


def test_attachments_are_named(sandbox: Sandbox, openai_client: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/a"}}
    content = [image, linked, {"type": "text", "text": "What is it?"}]
    ask = ASK | {"messages": [{"role": "user", "content": content}]}
    text = openai_client.chat.completions.create(**ask).choices[0].message.content
    assert text.endswith('You said: "What is it?" You attached: image/png, image_url.')


def test_listings_are_requests_too(sandbox: Sandbox, openai_client: Any) -> None:
    assert MODEL in [model.id for model in openai_client.models.list()]
    assert openai_client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("no-such-model")
    assert sandbox.openai.request_count == 3


def test_any_client_of_this_api_finds_it_through_the_environment(
    sandbox: Sandbox, sandbox_environment: dict[str, str]
) -> None:
    with openai.OpenAI(max_retries=0) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == ANSWER
    assert sandbox_environment["OPENAI_BASE_URL"] == f"{sandbox.openai.url}/v1"
