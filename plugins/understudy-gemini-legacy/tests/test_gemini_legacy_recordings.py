"""Every reply that was recorded from Google, through the real SDK over a socket.

Most streams were recorded as server-sent events, which this SDK does not ask for: their chunks are served as the JSON
array that Google sends instead, of which there is a recording too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy import Failure, FinishReason, LLMResponse, Message, Request, Tool, ToolResult, Usage
from understudy.errors import AuthenticationFailed, ContentBlocked, EmptyResponse, Overloaded, RateLimited
from understudy_gemini_legacy import GeminiLegacyProvider

ASKED = Request(messages=(Message.user("a"),), timeout=5)
RUBY = "crmne__ruby_llm/gemini/chat_"
AI = "pydantic__pydantic-ai/gemini/test_google_model_"

# file: what each of its replies that came from generateContent or streamGenerateContent is, by its place in the file.
PLAIN = {RUBY + "basic_chat_functionality_gemini_gemini-2_5-flash_can_have_a_basic_conversation.json"}
STREAMED = {RUBY + "with_extended_thinking_gemini_gemini-3-flash-preview_streams_thinking_content_when_available.json"}
ARRAY = {"simonw__llm-gemini/gemini/test_prompt.json"}
TOOLS = {RUBY + "function_calling_gemini_gemini-2_5-flash_can_use_parallel_tool_calls.json"}
TOOLS_STREAMED = {
    RUBY + "function_calling_gemini_gemini-2_5-flash_can_use_tools_with_multi-turn_streaming_conversations.json"
}
SCHEMA = {
    RUBY + "with_schema_with_gemini_gemini-3-flash-preview_accepts_a_json_schema_and_returns_structured_output.json"
}
IMAGE = {RUBY + "vision_models_gemini_gemini-2_5-flash_can_understand_local_images.json"}
FAILURES: dict[str, tuple[int, type[Failure], dict[str, Any]]] = {
    RUBY + "error_handling_with_gemini_gemini-2_5-flash_raises_appropriate_auth_error.json": (
        *(0, AuthenticationFailed),
        {"status": 400, "code": "API_KEY_INVALID", "retry_after": None},
    ),
    RUBY + "real_error_scenarios_gemini_gemini-2_5-flash_handles_context_length_exceeded_errors.json": (
        *(0, RateLimited),
        {"status": 429, "code": "RESOURCE_EXHAUSTED", "retry_after": 48.939935699},
    ),
    AI + "file_search_tool@c6767e95.json": (3, Overloaded, {"status": 503, "code": "UNAVAILABLE"}),
    AI + "safety_settings.json": (0, ContentBlocked, {"status": 200, "code": "SAFETY"}),
    AI + "max_tokens_thinking_model_empty_response.json": (0, EmptyResponse, {"status": 200}),
}

Connect = Callable[..., GeminiLegacyProvider]
Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]


@pytest.fixture
def play(recordings: Path, replay: Any, connect: Connect, tmp_path: Path) -> Callable[..., LLMResponse]:
    """Asks a provider that is answered by one recorded reply."""

    def play(names: Any, ask: Ask, request: Request = ASKED, start: int = 0, chunk: str = "line") -> LLMResponse:
        (name,) = names
        document = json.loads((recordings / name).read_text("utf-8"))
        document["replies"] = [as_array(reply) for reply in document["replies"]]
        file = tmp_path / "recorded.json"
        file.write_text(json.dumps(document), "utf-8")
        with replay(file, start=start, chunk=chunk) as served:
            response = ask(connect(served.url), request)
            assert [served.log[0]["method"], len(served.log)] == ["POST", 1]
        return response

    return play


def as_array(reply: dict[str, Any]) -> dict[str, Any]:
    """Write the chunks of a stream of events as the JSON array that they are without alt=sse."""
    headers = {name.lower(): value for name, value in reply["headers"]}
    if headers.get("content-type") != "text/event-stream":
        return reply
    chunks = [line.removeprefix("data: ") for line in reply["body"].split("\r\n") if line]
    headers["content-type"] = "application/json; charset=UTF-8"
    return {**reply, "headers": [*headers.items()], "body": "[" + "\r\n,".join(chunks) + "\r\n]"}


def test_all_recordings_of_this_vendor_are_in_these_tests(recordings: Path) -> None:
    with (recordings / "INDEX.tsv").open(encoding="utf-8") as index:
        there = {row["file"] for row in csv.DictReader(index, delimiter="\t") if row["vendor"] == "gemini"}
    assert there == {*PLAIN, *STREAMED, *ARRAY, *TOOLS, *TOOLS_STREAMED, *SCHEMA, *IMAGE, *FAILURES}


def test_a_plain_answer(play: Any, ask_whole: Ask) -> None:
    response = play(PLAIN, ask_whole)
    assert response.content == "2 + 2 = **4**"
    assert response.usage == Usage(input_tokens=10, output_tokens=31, thinking_tokens=23)
    assert (response.model, response.finish_reason) == ("gemini-2.5-flash", FinishReason.STOP)
    assert response.request_id == "Cr-FaqLbNpfYkdUP-bmpoAw"


def test_an_answer_about_an_image(play: Any, ask_whole: Ask) -> None:
    response = play(IMAGE, ask_whole)
    assert response.content.startswith("I see a faceted, deep red gemstone.")
    assert response.usage == Usage(input_tokens=267, output_tokens=420, thinking_tokens=373)


def test_an_answer_to_a_schema(play: Any, ask_whole: Ask) -> None:
    response = play(SCHEMA, ask_whole, Request(messages=ASKED.messages, output_schema={"type": "object"}))
    assert response.structured == {"name": "John", "age": 30}
    assert "thoughtSignature" in response.parts[0].provider_data["gemini"]


def test_parallel_tool_calls_and_the_answer_to_their_results(play: Any, ask_whole: Ask) -> None:
    tools = (Tool(name="weather"), Tool(name="best_language_to_learn"))
    response = play(TOOLS, ask_whole, Request(messages=ASKED.messages, tools=tools))
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert [(call.name, dict(call.arguments)) for call in response.tool_calls] == [
        ("weather", {"latitude": "52.5200", "longitude": "13.4050"}),
        ("best_language_to_learn", {}),
    ]
    assert len({call.id for call in response.tool_calls}) == 2
    results = Message.tool(*(ToolResult(call_id=call.id, content="x") for call in response.tool_calls))
    turns = (*ASKED.messages, response.message, results)
    later = Request(messages=turns, tools=tools)
    assert play(TOOLS, ask_whole, later, start=1).content.endswith("The best language to learn is Ruby.")


@pytest.mark.parametrize("chunk", ["line", "5", "50"])
def test_a_stream_with_thinking(play: Any, ask_stream: Ask, chunk: str) -> None:
    response = play(STREAMED, ask_stream, chunk=chunk)
    assert response.thinking.startswith("**Pondering Mirror Queries**")
    assert response.content
    assert "**Pondering" not in response.content
    assert response.finish_reason is FinishReason.STOP
    assert response.usage is not None
    assert response.usage.input_tokens == 44
    assert 0 < response.usage.thinking_tokens < response.usage.output_tokens


def test_a_stream_with_tool_calls_and_text(play: Any, ask_stream: Ask) -> None:
    called, said, again, last = (play(TOOLS_STREAMED, ask_stream, start=start) for start in range(4))
    assert [(call.name, dict(call.arguments)) for call in called.tool_calls + again.tool_calls] == [
        ("weather", {"latitude": "52.5200", "longitude": "13.4050"}),
        ("weather", {"longitude": "2.3514", "latitude": "48.8575"}),
    ]
    assert said.content == "The weather in Berlin is 15°C with a wind of 10 km/h."
    assert said.usage == Usage(input_tokens=233, output_tokens=21)
    assert last.content == "The weather in Paris is 15°C with a wind of 10 km/h."
    assert "thoughtSignature" in last.parts[0].provider_data["gemini"]


def test_a_stream_that_was_recorded_as_an_array(play: Any, ask_stream: Ask) -> None:
    response = play(ARRAY, ask_stream, chunk="100")
    assert response.thinking.startswith("**Considering the Constraint**")
    assert response.content == "Scoop"
    assert response.model == "gemini-3.6-flash"


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure(play: Any, ask: Ask, name: str) -> None:
    start, failure, fields = FAILURES[name]
    with pytest.raises(failure) as caught:
        play([name], ask, start=start)
    assert type(caught.value) is failure
    assert {field: getattr(caught.value, field) for field in fields} == fields
    assert (caught.value.provider, caught.value.model) == ("gemini-legacy", "gemini-2.5-flash-lite")
