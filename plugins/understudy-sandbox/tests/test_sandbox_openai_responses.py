"""Healthy replies of Responses, and its numbered events, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from understudy_sandbox import Sandbox

openai = pytest.importorskip("openai", reason="the SDK of OpenAI is not installed")

MODEL = "gpt-6-luna"
ASK: dict[str, Any] = {"model": MODEL, "input": "Hello there", "reasoning": {"effort": "none"}}
ANSWER = 'This is the Understudy sandbox standing in for OpenAI, not a real model. You said: "Hello there"'
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
THINKING: dict[str, Any] = {
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}


def short(events: list[Any]) -> list[str]:
    """The names of events without their common beginning, with runs of the same event as one."""
    names = [event.type.removeprefix("response.") for event in events]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, openai_client: Any) -> None:
    reply = openai_client.responses.create(**ASK, instructions="Be kind", store=False)
    assert (reply.output_text, reply.status, reply.model) == (ANSWER, "completed", MODEL)
    assert (reply.instructions, reply.store, reply.error, reply.incomplete_details) == ("Be kind", False, None, None)
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (4, 17, 21)
    assert reply.id.startswith("resp_")
    assert sandbox.openai.requests[0].path == "/v1/responses"


def test_events_come_in_order_and_are_numbered(sandbox: Sandbox, openai_client: Any) -> None:
    events = list(openai_client.responses.create(**ASK, stream=True))
    assert short(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(25))
    assert "".join(event.delta for event in events if event.type.endswith(".delta")) == ANSWER
    assert (events[0].response.status, events[0].response.output, events[0].response.usage) == ("in_progress", [], None)
    assert events[2].item.content == []
    assert events[-1].response.output_text == ANSWER
    assert events[-1].response.usage.total_tokens == 19


def test_async_client(sandbox: Sandbox) -> None:
    async def talk() -> tuple[str, str]:
        url = f"{sandbox.openai.url}/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            plain = await client.responses.create(**ASK)
            async with client.responses.stream(**ASK) as events:
                streamed = await events.get_final_response()
            return plain.output_text, streamed.output_text

    assert asyncio.run(talk()) == (ANSWER, ANSWER)


def test_reasoning_is_an_item_of_its_own(sandbox: Sandbox, openai_client: Any) -> None:
    ask: dict[str, Any] = {**ASK, **THINKING}
    thought, message = openai_client.responses.create(**ask).output
    assert (thought.type, message.type) == ("reasoning", "message")
    assert thought.summary[0].text
    assert thought.encrypted_content
    hidden = openai_client.responses.create(**ASK | {"reasoning": {"effort": "low"}})
    assert (hidden.output[0].summary, hidden.output[0].encrypted_content) == ([], None)
    assert hidden.usage.output_tokens == 17 + hidden.usage.output_tokens_details.reasoning_tokens
    events = list(openai_client.responses.create(**ask, stream=True))
    assert short(events)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    assert events[-1].response.output[0].summary[0].text == thought.summary[0].text


def test_scripted_text_and_body(sandbox: Sandbox, openai_client: Any, stream: bool) -> None:
    part = {"type": "output_text", "text": "a b", "annotations": [{"type": "url_citation", "url": "u"}]}
    item = {"id": "i1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    body = {"id": "r1", "object": "response", "status": "incomplete", "output": [item]}
    sandbox.openai.reply("Grüße ☕", body | {"incomplete_details": {"reason": "content_filter"}})
    replies = []
    for _ in range(2):
        reply = openai_client.responses.create(**ASK, stream=stream)
        replies.append(list(reply)[-1].response if stream else reply)
    assert [reply.output_text for reply in replies] == ["Grüße ☕", "a b"]
    assert (replies[1].id, replies[1].incomplete_details.reason) == ("r1", "content_filter")
    assert replies[1].output[0].content[0].annotations[0].url == "u"


def test_tool_loop_streams_arguments_and_repeats_results(sandbox: Sandbox, openai_client: Any) -> None:
    user = {"role": "user", "content": [{"type": "input_text", "text": "get_weather!"}]}
    ask = {"model": MODEL, "tools": [WEATHER], **THINKING}
    events = list(openai_client.responses.create(**ask, input=[user], stream=True))
    spelled = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(spelled) > 1
    assert json.loads("".join(spelled)) == {"city": "..."}
    output = events[-1].response.output
    assert [item.type for item in output] == ["reasoning", "function_call"]
    started = next(event.item for event in events if getattr(event, "item", None) and event.item.type != "reasoning")
    assert (started.arguments, started.status, started.name) == ("", "in_progress", "get_weather")
    result = {"type": "function_call_output", "call_id": output[1].call_id, "output": "sunny"}
    turns = [user, *(item.model_dump(exclude_none=True) for item in output), result]
    final = openai_client.responses.create(**ask, input=turns)
    assert final.output_text.endswith("The tools said: sunny")


@pytest.mark.parametrize(
    ("choice", "called"), [("required", 1), ({"type": "function", "name": "get_weather"}, 1), ("none", 0), ("auto", 0)]
)
def test_tool_choice_decides(sandbox: Sandbox, openai_client: Any, choice: Any, called: int) -> None:
    reply = openai_client.responses.create(**ASK, tools=[WEATHER], tool_choice=choice)
    assert [item.type for item in reply.output] == (["function_call"] if called else ["message"])


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, openai_client: Any) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "person", "schema": schema}
    assert openai_client.responses.create(**ASK, text={"format": form}).output_text == '{"age":1}'


def test_a_limit_leaves_the_response_incomplete(sandbox: Sandbox, openai_client: Any, stream: bool) -> None:
    reply = openai_client.responses.create(**ASK, max_output_tokens=16, stream=stream)
    response = list(reply)[-1].response if stream else reply
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert response.output_text == ANSWER.rpartition(" ")[0]


@pytest.mark.parametrize(("limit", "text"), [(1024, ""), (1235, "This is the"), (1400, ANSWER)])
def test_reasoning_counts_within_the_limit(
    sandbox: Sandbox, openai_client: Any, stream: bool, limit: int, text: str
) -> None:
    ask = {"model": MODEL, "input": "Hello there", "max_output_tokens": limit}
    reply = openai_client.responses.create(**ask, stream=stream)
    response = list(reply)[-1].response if stream else reply
    assert response.status == ("completed" if text == ANSWER else "incomplete")
    assert [item.type for item in response.output] == (["reasoning", "message"] if text else ["reasoning"])
    assert response.output_text == text
    assert response.usage.output_tokens == min(limit, 1249)
    assert response.usage.output_tokens_details.reasoning_tokens == min(limit, 1232)


def test_attachments_are_named(sandbox: Sandbox, openai_client: Any) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
    named = {"type": "input_file", "file_id": "f1"}
    content = [image, named, {"type": "input_text", "text": "What is it?"}]
    reply = openai_client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
    assert reply.output_text.endswith('You said: "What is it?" You attached: image/png, file.')
