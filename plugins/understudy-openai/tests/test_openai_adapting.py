"""What a model behind a compatible server refuses is left out at once, remembered, and told on each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    LLMFactory,
    LLMResponse,
    Message,
    Settings,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from understudy.errors import UnsupportedRequest
from understudy.testing import ScriptedProvider
from understudy_openai import OpenAIProvider
from understudy_toolkit.conformance import FaultServer, Reply
from understudy_toolkit.refused import forget

if TYPE_CHECKING:
    from understudy_toolkit.conformance.fault_server import ReceivedRequest

Refuses = Callable[[Mapping[str, Any]], str | None]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = Tool(name="weather", description="d", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
WAYS = ("sync", "async", "stream", "astream")


class Server:
    """A strict server that speaks chat completions, and remembers what it was asked."""

    def __init__(self) -> None:
        self.refuses: Refuses = lambda body: None
        self.message: Mapping[str, Any] = {"role": "assistant", "content": '{"city": "Bern"}'}
        self.http = FaultServer(self._answer)

    @property
    def bodies(self) -> list[Any]:
        return [one.json for one in self.http.requests]

    def _answer(self, request: ReceivedRequest) -> Reply:
        body = request.json
        if (words := self.refuses(body)) is not None:
            return Reply({"error": {"message": words, "type": "invalid_request_error"}}, 400)
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        told = {"id": "c1", "model": "strict", "usage": usage}
        finish = "tool_calls" if self.message.get("tool_calls") else "stop"
        if not body.get("stream"):
            choice = {"index": 0, "message": self.message, "finish_reason": finish}
            return Reply({**told, "choices": [choice]})
        delta = {"index": 0, "delta": self.message, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": finish}
        return Reply.events({**told, "choices": [delta]}, {**told, "choices": [end]}, "[DONE]")


@pytest.fixture
def server() -> Iterator[Server]:
    """A strict server; nothing is known of it."""
    forget()
    made = Server()
    with made.http:
        yield made
    forget()


def make(server: Server, lane: str) -> OpenAIProvider:
    settings = {"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": f"{server.http.url}/v1"}
    return OpenAIProvider(Settings(environment={**settings, "OPENAI_MODEL": "strict", "OPENAI_TRANSPORT": lane}))


def ask(provider: OpenAIProvider, how: str, prompt: Any = "Hello", fallbacks: Any = (), **asked: Any) -> LLMResponse:
    """Ask in one of the four ways."""
    import asyncio

    with LLMFactory(provider, fallbacks, settings={}, extensions=[], policy="eager") as factory:
        if how == "sync":
            return factory.generate_content(prompt, max_retries=0, **asked)
        if how == "stream":
            *_, last = factory.stream_content(prompt, max_retries=0, **asked)
            return last.response

        async def run() -> LLMResponse:
            if how == "async":
                return await factory.agenerate_content(prompt, max_retries=0, **asked)
            events = [event async for event in factory.astream_content(prompt, max_retries=0, **asked)]
            return events[-1].response

        return asyncio.run(run())


def has(*path: str) -> Refuses:
    """Return what refuses a body with a field."""

    def refuses(body: Any) -> str | None:
        for name in path:
            body = body.get(name) if isinstance(body, Mapping) else None
        return None if body is None else f"Unsupported parameter: '{path[-1]}' is not supported with this model."

    return refuses


def no_schema(body: Any) -> str | None:
    kind = (body.get("response_format") or {}).get("type")
    return "This response_format type is unavailable now" if kind == "json_schema" else None


def no_system(body: Any) -> str | None:
    roles = {message["role"] for message in body["messages"]}
    return "System role not supported" if roles & {"system", "developer"} else None


def no_forced_tool(body: Any) -> str | None:
    forced = body.get("tool_choice") not in (None, "auto", "none")
    return "This model does not support the provided 'tool_choice' value." if forced else None


# What a server refuses, what is asked, which field the warning names (none: nothing is lost), and what is sent instead.
REFUSALS: dict[str, tuple[Refuses, dict[str, Any], str | None, Callable[[Any], bool]]] = {
    "temperature": (has("temperature"), {"temperature": 0.7}, "temperature", lambda body: "temperature" not in body),
    "top_p": (has("top_p"), {"options": {"openai": {"top_p": 0.5}}}, "top_p", lambda body: "top_p" not in body),
    "seed": (has("seed"), {"options": {"openai": {"seed": 5}}}, "seed", lambda body: "seed" not in body),
    "stop": (has("stop"), {"stop": ["END"]}, None, lambda body: "stop" not in body),
    "max_tokens": (
        has("max_tokens"),
        {"max_tokens": 50},
        None,
        lambda body: body.get("max_completion_tokens") == 50,
    ),
    "json_schema": (
        no_schema,
        {"output_schema": SCHEMA},
        "output_schema",
        lambda body: body["response_format"] == {"type": "json_object"} and '"city"' in str(body["messages"][0]),
    ),
    "system": (
        no_system,
        {"system": "Be brief."},
        "system",
        lambda body: body["messages"] == [{"role": "user", "content": "Be brief.\n\nHello"}],
    ),
    "a forced tool": (
        no_forced_tool,
        {"tools": [TOOL], "tool_choice": "required"},
        "tool_choice",
        lambda body: body["tool_choice"] == "auto",
    ),
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("lane", ["sdk", "http"])
def test_a_refused_setting_costs_one_request_more_once_and_is_told_on_every_answer(
    server: Server, lane: str, how: str
) -> None:
    for what, (refuses, asked, lost, is_adapted) in REFUSALS.items():
        forget()
        server.refuses = refuses
        server.http.requests.clear()
        provider = make(server, lane)
        for requests in (2, 3):  # in all: the second call is right at once
            response = ask(provider, how, **asked)
            assert response.success, (what, response.error)
            assert len(server.bodies) == requests, what
            assert is_adapted(server.bodies[-1]), (what, server.bodies[-1])
            told = [warning.setting for warning in response.warnings]
            assert told == ([] if lost is None else [lost]), what
        assert not is_adapted(server.bodies[0])
        provider.close()


def test_two_refusals_are_learnt_one_call_after_the_other(server: Server) -> None:
    server.refuses = lambda body: has("temperature")(body) or has("top_p")(body)
    provider = make(server, "http")
    options = {"options": {"openai": {"top_p": 0.5}}, "temperature": 0.5}
    backup = ScriptedProvider("backup", ["the backup's"])
    first = ask(provider, "sync", fallbacks=backup, **options)
    assert (first.content, [attempt.target for attempt in first.attempts]) == (
        "the backup's",
        ["openai", "openai", "backup"],
    )
    assert all(isinstance(attempt.failure, UnsupportedRequest) for attempt in first.attempts[:2])
    second = ask(provider, "sync", fallbacks=backup, **options)
    assert (second.provider_name, len(server.bodies)) == ("openai", 3)
    assert {warning.setting for warning in second.warnings} == {"temperature", "top_p"}
    provider.close()


@pytest.mark.parametrize("first", ["temperature", "max_tokens"])
def test_a_deployment_of_a_reasoning_model_answers_the_first_call_whichever_setting_it_refuses_first(
    server: Server, first: str
) -> None:
    def refuses(body: Any) -> str | None:
        words = {
            "temperature": "Unsupported value: 'temperature' does not support 0.0 with this model. "
            "Only the default (1) value is supported.",
            "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
        }
        second = "max_tokens" if first == "temperature" else "temperature"
        return next((words[name] for name in (first, second) if name in body), None)

    server.refuses = refuses
    provider = make(server, "http")
    for requests in (2, 3):
        response = ask(provider, "sync")
        assert (response.success, response.warnings, len(server.bodies)) == (True, (), requests)
    provider.close()


def test_another_model_at_the_same_address_is_asked_as_if_nothing_were_known(server: Server) -> None:
    server.refuses = has("temperature")
    provider = make(server, "http")
    ask(provider, "sync", temperature=0.5)
    server.refuses = lambda body: None
    ask(provider, "sync", temperature=0.5, model="another")
    assert server.bodies[-1]["temperature"] == 0.5
    provider.close()


def reasoning_wanted(body: Any) -> str | None:
    turns = [message for message in body["messages"] if message["role"] == "assistant"]
    if any(message.get("tool_calls") for message in turns) and any("reasoning_content" not in one for one in turns):
        return "The `reasoning_content` in the thinking mode must be passed back to the API."
    return None


def test_a_server_that_wants_its_reasoning_back_gets_its_own_and_an_empty_one_elsewhere(server: Server) -> None:
    server.refuses = reasoning_wanted
    provider = make(server, "http")
    call = ToolCall(id="call_1", name="weather", arguments={"city": "Bern"})
    result = Message.tool(ToolResult(call_id="call_1", name="weather", content="cold"))
    foreign = [Message.user("Hello"), Message("assistant", (call,)), result]
    server.message = {"role": "assistant", "content": "It is cold.", "reasoning_content": "R"}
    answered = ask(provider, "sync", foreign, tools=[TOOL])
    assert answered.success
    again = ask(provider, "sync", [*foreign, answered.message, Message.user("And now?")], tools=[TOOL])
    assert again.success
    assert [one.get("reasoning_content") for one in server.bodies[-1]["messages"]] == [None, "", None, "R", None]
    assert len(server.bodies) == 3
    provider.close()


def test_what_a_server_shows_of_its_thoughts_in_any_form_comes_back_on_its_message(server: Server) -> None:
    details = [{"type": "reasoning.encrypted", "data": "SIGNATURE", "index": 0}]
    called = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    server.message = {
        "role": "assistant",
        "content": None,
        "reasoning": "hm",
        "reasoning_details": details,
        "tool_calls": [{**called, "index": 0}],
    }
    for lane in ("sdk", "http"):
        provider = make(server, lane)
        for how in WAYS:
            response = ask(provider, how, tools=[TOOL])
            assert response.thinking == "hm"
            result = Message.tool(ToolResult(call_id="t1", name="weather", content="cold"))
            ask(provider, "sync", [Message.user("Hello"), response.message, result], tools=[TOOL])
            assert server.bodies[-1]["messages"][1]["reasoning_details"] == details, (lane, how)
        provider.close()


def test_thoughts_in_tags_are_thoughts_wherever_the_pieces_are_cut(server: Server) -> None:
    whole = "<think>hm, well</think>\nHello <think> there"
    for cut in range(len(whole) + 1):
        first, second = whole[:cut], whole[cut:]
        told = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in (first, second) if text]
        told.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        server.http.answer = lambda request, told=told: Reply.events(*({"choices": [one]} for one in told), "[DONE]")
        provider = make(server, "http")
        response = ask(provider, "stream")
        assert (response.thinking, response.content.strip()) == ("hm, well", "Hello <think> there"), cut
        kinds = [type(part) for part in response.parts]
        assert kinds[:1] == [Thinking]
        assert set(kinds[1:]) == {Text}
        provider.close()
