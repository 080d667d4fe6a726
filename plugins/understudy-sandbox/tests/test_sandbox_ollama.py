"""Healthy replies in Ollama's shape, and what its server turns away, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Sandbox

ollama = pytest.importorskip("ollama", reason="the SDK of Ollama is not installed")

MODEL = "llama3.2"  # does not think
THINKER = "gemma4"
LEVELLED = "gpt-oss:20b"
HELLO = [{"role": "user", "content": "Hello there"}]
ANSWER = 'This is the Understudy sandbox standing in for Ollama, not a real model. You said: "Hello there"'
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


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, ollama_client: Any) -> None:
    reply = ollama_client.chat(MODEL, HELLO)
    assert (reply.message.content, reply.message.role, reply.model) == (ANSWER, "assistant", MODEL)
    assert (reply.done, reply.done_reason, reply.prompt_eval_count, reply.eval_count) == (True, "stop", 3, 17)
    [request] = sandbox.ollama.requests
    assert (request.method, request.path, request.stream) == ("POST", "/api/chat", False)
    assert request.json["model"] == MODEL
    assert "authorization" not in request.headers


def test_stream_is_lines_and_the_last_one_is_done(sandbox: Sandbox, ollama_client: Any) -> None:
    lines = list(ollama_client.chat(MODEL, HELLO, stream=True))
    assert "".join(line.message.content for line in lines) == ANSWER
    assert [line.done for line in lines] == [False] * 17 + [True]
    assert (lines[-1].done_reason, lines[-1].eval_count, lines[0].eval_count) == ("stop", 17, None)
    assert sandbox.ollama.requests[0].stream


def test_it_streams_unless_it_is_told_not_to(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    _, body = send(f"{sandbox.ollama.url}/api/chat", {"model": MODEL, "messages": HELLO})
    lines = body.split("\n")
    assert len(lines) == 19
    assert lines[-1] == ""
    assert "".join(json.loads(line)["message"]["content"] for line in lines[:-1]) == ANSWER


def test_async_client(sandbox: Sandbox) -> None:
    async def talk() -> tuple[str, str]:
        async with ollama.AsyncClient(host=sandbox.ollama.url) as client:
            plain = await client.chat(MODEL, HELLO)
            stream = await client.chat(MODEL, HELLO, stream=True)
            return plain.message.content, "".join([line.message.content async for line in stream])

    assert asyncio.run(talk()) == (ANSWER, ANSWER)


def test_scripted_text_and_body(sandbox: Sandbox, ollama_client: Any, stream: bool) -> None:
    message = {"role": "assistant", "content": "a b", "thinking": "so so"}
    sandbox.ollama.reply("Grüße ☕", {"model": "m", "message": message, "done": True, "done_reason": "load"})
    texts, thoughts, reason = [], [], None
    for _ in range(2):
        reply = ollama_client.chat(MODEL, HELLO, stream=stream)
        lines = list(reply) if stream else [reply]
        texts.append("".join(line.message.content or "" for line in lines))
        thoughts.append("".join(line.message.thinking or "" for line in lines))
        reason = lines[-1].done_reason
    assert (texts, thoughts, reason) == (["Grüße ☕", "a b"], ["", "so so"], "load")


def test_tool_is_called_only_when_the_text_names_it(sandbox: Sandbox, ollama_client: Any, stream: bool) -> None:
    def calls(text: str) -> list[Any]:
        reply = ollama_client.chat(MODEL, [{"role": "user", "content": text}], tools=[WEATHER], stream=stream)
        lines = list(reply) if stream else [reply]
        assert lines[-1].done_reason == "stop"
        return [call for line in lines for call in line.message.tool_calls or []]

    assert calls("Hello there") == []
    [call] = calls("Use get_weather please")
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "...", "days": 1})


def test_calls_have_ids_and_places(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "get_weather"}], "tools": [WEATHER]}
    _, text = send(f"{sandbox.ollama.url}/api/chat", {**body, "stream": False})
    [call] = json.loads(text)["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"]["index"] == 0


def test_results_are_repeated(sandbox: Sandbox, ollama_client: Any) -> None:
    user = {"role": "user", "content": "get_weather!"}
    calling = ollama_client.chat(MODEL, [user], tools=[WEATHER]).message
    turns = [user, calling, {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
    final = ollama_client.chat(MODEL, turns, tools=[WEATHER])
    assert final.message.content.endswith("The tools said: sunny")


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, ollama_client: Any) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    assert ollama_client.chat(MODEL, HELLO, format=schema).message.content == '{"age":1}'
    assert ollama_client.chat(MODEL, HELLO, format="json").message.content == "{}"


@pytest.mark.parametrize("think", [None, True, "low"])
def test_thoughts_have_a_place_of_their_own(sandbox: Sandbox, ollama_client: Any, think: Any) -> None:
    reply = ollama_client.chat(THINKER, HELLO, think=think)
    assert (reply.message.content, reply.eval_count) == (ANSWER, len(reply.message.thinking.split()) + 17)
    lines = list(ollama_client.chat(THINKER, HELLO, think=think, stream=True))
    assert "".join(line.message.thinking or "" for line in lines) == reply.message.thinking
    assert "".join(line.message.content for line in lines) == ANSWER


def test_a_model_that_thinks_uses_up_a_usual_limit_unless_it_is_told_not_to_think(
    sandbox: Sandbox, ollama_client: Any, stream: bool
) -> None:
    def ask(**arguments: Any) -> tuple[str, bool, str, int]:
        reply = ollama_client.chat(THINKER, HELLO, stream=stream, **arguments)
        lines = list(reply) if stream else [reply]
        text = "".join(line.message.content or "" for line in lines)
        thought = any(line.message.thinking for line in lines)
        return text, thought, lines[-1].done_reason, lines[-1].eval_count

    assert ask(options={"num_predict": 1024}) == ("", True, "length", 1024)
    assert ask(options={"num_predict": 1024}, think=False) == (ANSWER, False, "stop", 17)
    assert ask(options={"num_predict": 1403}) == ("This is the", True, "length", 1403)
    assert ask(options={"num_predict": 1417}) == (ANSWER, True, "stop", 1417)


def test_only_some_models_have_levels_and_those_think_whatever_else_they_are_told(
    sandbox: Sandbox, ollama_client: Any
) -> None:
    def thought(model: str, think: Any) -> int:
        return int(ollama_client.chat(model, HELLO, think=think).eval_count) - 17

    low, medium, high = (thought(LEVELLED, level) for level in ("low", "medium", "high"))
    assert low < 100 < 1024 < medium < high
    assert thought(LEVELLED, None) == thought(LEVELLED, False) == thought(LEVELLED, True) == medium
    assert thought(THINKER, "low") == thought(THINKER, "high") == medium


@pytest.mark.parametrize(
    ("model", "think", "complaint"),
    [
        ("llama3.2", True, '"llama3.2" does not support thinking'),
        ("qwen3-coder", "low", '"qwen3-coder" does not support thinking'),
        ("gpt-oss:20b", "minimal", 'invalid think value: "minimal" (must be'),
        ("gemma4", 5, "think must be a boolean or string"),
    ],
)
def test_thinking_that_a_model_cannot_do_is_refused(
    sandbox: Sandbox, send: Callable[..., tuple[int, str]], model: str, think: Any, complaint: str
) -> None:
    status, text = send(f"{sandbox.ollama.url}/api/chat", {"model": model, "messages": HELLO, "think": think})
    assert (status, complaint in json.loads(text)["error"]) == (400, True)


def test_a_context_window_that_is_set_ends_an_answer_and_refuses_a_prompt(
    sandbox: Sandbox, send: Callable[..., tuple[int, str]]
) -> None:
    asked = {"model": MODEL, "messages": HELLO, "stream": False, "truncate": False, "shift": False}
    url = f"{sandbox.ollama.url}/api/chat"
    filled = json.loads(send(url, {**asked, "options": {"num_ctx": 8, "num_predict": 100}})[1])
    assert (filled["prompt_eval_count"], filled["eval_count"], filled["done_reason"]) == (3, 5, "length")
    status, text = send(url, {**asked, "options": {"num_ctx": 3}})
    assert (status, "exceeds the available context size" in text) == (400, True)
    assert send(url, {**asked, "truncate": True, "options": {"num_ctx": 3}})[0] == 200


def test_reasons_to_end(sandbox: Sandbox, ollama_client: Any) -> None:
    cut = ollama_client.chat(MODEL, HELLO, options={"num_predict": 3, "temperature": 0.5})
    assert (cut.message.content, cut.done_reason) == ("This is the", "length")
    stopped = ollama_client.chat(MODEL, HELLO, options={"stop": [" standing"], "num_predict": -1})
    assert (stopped.message.content, stopped.done_reason) == ("This is the Understudy sandbox", "stop")
    loaded = ollama_client.chat(MODEL, [])
    assert (loaded.message.content, loaded.done_reason) == ("", "load")


def test_images_are_named(sandbox: Sandbox, ollama_client: Any) -> None:
    message = {"role": "user", "content": "What is it?", "images": [b"hi"]}
    assert ollama_client.chat(MODEL, [message]).message.content.endswith("You attached: image.")


def test_what_the_server_says_of_itself(
    sandbox: Sandbox, ollama_client: Any, send: Callable[..., tuple[int, str]]
) -> None:
    assert "gemma4:latest" in [model.model for model in ollama_client.list().models]
    assert "tools" in ollama_client.show(MODEL).capabilities
    assert ["thinking" in ollama_client.show(model).capabilities for model in (THINKER, MODEL)] == [True, False]
    url = sandbox.ollama.url
    assert send(f"{url}/api/version") == (200, '{"version":"0.0.0-sandbox"}')
    assert send(url) == (200, "Ollama is running")
    assert send(f"{url}/api/nonsense") == (404, "404 page not found")
    assert send(f"{url}/api/chat")[0] == 405
    assert sandbox.ollama.request_count == 8


def test_what_it_pulled_is_in_memory_unless_a_reply_is_scripted(sandbox: Sandbox, ollama_client: Any) -> None:
    assert [model.model for model in ollama_client.ps().models] == [m.model for m in ollama_client.list().models]
    sandbox.ollama.reply({"models": []})
    assert ollama_client.ps().models == []
    assert ollama_client.ps().models != []


def test_a_model_that_is_not_pulled(sandbox: Sandbox, ollama_client: Any) -> None:
    for call in (lambda: ollama_client.chat("no-such-model", HELLO), lambda: ollama_client.show("no-such-model:1b")):
        with pytest.raises(ollama.ResponseError, match=r"model 'no-such-model(:1b)?' not found") as caught:
            call()
        assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"model": ""}, "model is required"),
        ([1], "cannot unmarshal"),
        ({"messages": "hi"}, "cannot unmarshal string into Go struct field ChatRequest.messages of type"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "cannot unmarshal array into Go struct field"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
        ),
        ({"format": "xml"}, 'invalid format: \\"xml\\"; expected \\"json\\" or a JSON schema'),
        ({"options": {"temperature": "hot"}}, 'option \\"temperature\\" must be of type float32'),
        ({"options": {"num_predict": 2.5}}, 'option \\"num_predict\\" must be of type integer'),
    ],
    ids=str,
)
def test_bad_requests_are_turned_away(
    sandbox: Sandbox, send: Callable[..., tuple[int, str]], body: Any, complaint: str
) -> None:
    sent = {"model": MODEL, "messages": HELLO, **body} if isinstance(body, dict) else body
    status, text = send(f"{sandbox.ollama.url}/api/chat", sent)
    assert (status, complaint in text) == (400, True)
    assert list(json.loads(text)) == ["error"]


def test_the_sdk_finds_it_through_the_environment(sandbox: Sandbox, sandbox_environment: dict[str, str]) -> None:
    with ollama.Client() as client:
        assert client.chat(MODEL, HELLO).message.content == ANSWER
    assert sandbox_environment["OLLAMA_BASE_URL"] == sandbox.ollama.url
