"""Signs of life on the wire, streams of nothing else, and servers that load their model first."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from understudy_sandbox import Sandbox, StandIn, faults

if TYPE_CHECKING:
    import anthropic
    import openai

Send = Callable[..., tuple[int, str]]

HELLO = [{"role": "user", "content": "Hello there"}]
MESSAGES = ("/v1/messages", {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": HELLO})
CHAT = ("/v1/chat/completions", {"model": "gpt-4.1-mini", "messages": HELLO})
RESPONSES = ("/v1/responses", {"model": "gpt-6-luna", "input": "Hello there"})
COHERE = ("/v2/chat", {"model": "command-a-03-2025", "messages": HELLO})
OLLAMA = ("/api/chat", {"model": "gemma4", "messages": HELLO})
GEMINI = ("/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", {"contents": [{"parts": [{"text": "Hi"}]}]})
HEADERS = {"x-api-key": "k", "x-goog-api-key": "k", "authorization": "Bearer k", "anthropic-version": "2023-06-01"}


@contextmanager
def _opened(stand_in: StandIn, path: str, body: Any, method: str = "POST") -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=60)
    connection.request(method, path, json.dumps(body), {**HEADERS, "content-type": "application/json"})
    try:
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def _streamed(stand_in: StandIn, path: str, body: Any) -> list[str]:
    """The lines of a whole stream, or of one that broke off, that hold something."""
    with _opened(stand_in, path, body if "alt=sse" in path else {**body, "stream": True}) as response:
        lines = []
        try:
            for line in response:
                lines.append(line.decode().strip())
        except http.client.IncompleteRead as broken:
            lines += broken.partial.decode().splitlines()
    return [line for line in lines if line]


def _types(lines: list[str]) -> list[str]:
    return [json.loads(line[6:])["type"] for line in lines if line.startswith("data: {")]


# ---- heartbeats ----


def test_claude_pings_until_the_first_delta(sandbox: Sandbox) -> None:
    sandbox.claude.next(faults.slow_first_token(0.05, every=0.01))
    late = _types(_streamed(sandbox.claude, *MESSAGES))
    sound = _types(_streamed(sandbox.claude, *MESSAGES))
    place = late.index("content_block_delta")
    assert late[:3] == ["message_start", "content_block_start", "ping"] == sound[:3]
    assert late[3:place] == ["ping"] * 4
    assert late[:3] + late[place:] == sound


def test_keepalives_of_responses_are_numbered_like_all_events(sandbox: Sandbox) -> None:
    sandbox.openai.next(faults.slow_first_token(0.05, every=0.01))
    late = _streamed(sandbox.openai, *RESPONSES)
    sound = _streamed(sandbox.openai, *RESPONSES)
    events = [json.loads(line[6:]) for line in late if line.startswith("data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events].count("keepalive") == 4
    assert late.count("event: keepalive") == 4
    assert [kind for kind in _types(late) if kind != "keepalive"] == _types(sound)
    kinds = [event["type"] for event in events]
    assert kinds[kinds.index("keepalive") + 4].endswith(".delta")  # nothing of the answer came before


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [("openai", *CHAT), ("cohere", *COHERE), ("ollama", *OLLAMA), ("gemini", *GEMINI)],
    ids=["openai", "cohere", "ollama", "gemini"],
)
def test_the_others_send_none(name: str, path: str, body: Any, sandbox: Sandbox) -> None:
    sandbox[name].next(faults.slow_first_token(0.05, every=0.01))
    late, sound = _streamed(sandbox[name], path, body), _streamed(sandbox[name], path, body)
    assert len(late) == len(sound)
    assert "ping" not in str(late)


@pytest.mark.parametrize(
    ("name", "path", "body", "kind"), [("claude", *MESSAGES, "ping"), ("openai", *RESPONSES, "keepalive")]
)
def test_a_stream_of_nothing_but_heartbeats_ends_without_an_answer(
    name: str, path: str, body: Any, kind: str, sandbox: Sandbox
) -> None:
    sandbox[name].next(faults.heartbeats(every=0.01, seconds=0.05))
    kinds = _types(_streamed(sandbox[name], path, body))
    assert kinds[-4:] == [kind] * 4
    assert not [kind for kind in kinds if kind.endswith(("delta", "stop", "completed"))]


def test_an_answer_without_content_is_held_back_too(sandbox: Sandbox) -> None:
    path, body = MESSAGES
    thinking = {**body, "model": "claude-sonnet-5-5", "max_tokens": 9}  # which thinking uses up
    sandbox.claude.next(faults.heartbeats(every=0.01, seconds=0.03), faults.slow_first_token(0.03, every=0.01))
    assert _types(_streamed(sandbox.claude, path, thinking)) == ["message_start", "ping", "ping"]
    assert _types(_streamed(sandbox.claude, path, thinking))[-1] == "message_stop"


def test_heartbeats_come_for_as_long_as_they_are_listened_to(sandbox: Sandbox) -> None:
    sandbox.claude.always(faults.heartbeats(every=0.001))
    path, body = MESSAGES
    with _opened(sandbox.claude, path, {**body, "stream": True}) as response:
        heard = 0
        while heard < 20:
            heard += response.readline().startswith(b"event: ping")
    assert sandbox.claude.requests[0].fault == "heartbeats every=0.001"


def test_a_plain_request_hears_nothing_of_heartbeats(sandbox: Sandbox) -> None:
    sandbox.claude.next(faults.heartbeats(every=0.001, seconds=0.02))
    with pytest.raises(http.client.RemoteDisconnected), _opened(sandbox.claude, *MESSAGES):
        pass


def test_the_sdks_read_on_through_heartbeats(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, openai_client: openai.OpenAI
) -> None:
    sandbox.claude.next(faults.slow_first_token(0.03, every=0.01))
    sandbox.openai.next(faults.slow_first_token(0.03, every=0.01))
    with claude_client.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=HELLO) as events:  # type: ignore[arg-type]  # a message is one
        assert events.get_final_text()
    kinds = [event.type for event in openai_client.responses.create(**RESPONSES[1], stream=True)]
    assert kinds.count("keepalive") == 2
    assert kinds[-1] == "response.completed"


# ---- loading ----


def _in_memory(sandbox: Sandbox, send: Send) -> list[str]:
    status, body = send(f"{sandbox.ollama.url}/api/ps")
    assert status == 200
    return [model["name"] for model in json.loads(body)["models"]]


def test_what_is_in_memory_is_told_before_and_after_loading(sandbox: Sandbox, send: Send, stream: bool) -> None:
    everything = _in_memory(sandbox, send)
    assert everything
    sandbox.ollama.next(faults.loading(0.02))
    assert _in_memory(sandbox, send) == []
    assert send(f"{sandbox.ollama.url}/api/version")[0] == 200  # is answered meanwhile, as the list of models is
    assert json.loads(send(f"{sandbox.ollama.url}/api/tags")[1])["models"]
    status, answer = send(f"{sandbox.ollama.url}/api/chat", {**OLLAMA[1], "stream": stream})
    assert (status, json.loads(answer.splitlines()[-1])["done"]) == (200, True)
    assert _in_memory(sandbox, send) == everything
    assert sandbox.ollama.requests[-2].fault == "loading seconds=0.02"
    assert sandbox.ollama.requests[-1].fault is None


def test_a_request_without_messages_loads_the_model_too(sandbox: Sandbox, send: Send) -> None:
    sandbox.ollama.next(faults.loading(0.02))
    assert json.loads(send(f"{sandbox.ollama.url}/api/chat", {"model": "gemma4", "stream": False})[1])["done"] is True
    assert _in_memory(sandbox, send)


def test_a_refused_request_loads_nothing(sandbox: Sandbox, send: Send) -> None:
    sandbox.ollama.next(faults.loading(60))
    assert send(f"{sandbox.ollama.url}/api/chat", {**OLLAMA[1], "model": "no-such-model"})[0] == 404
    assert _in_memory(sandbox, send) == []


def test_loading_that_is_given_up_begins_anew(sandbox: Sandbox, send: Send) -> None:
    sandbox.ollama.next(faults.loading(60))
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.ollama.port, timeout=0.05)
    connection.request("POST", OLLAMA[0], json.dumps(OLLAMA[1]))
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert _in_memory(sandbox, send) == []
    sandbox.ollama.heal()
    assert _in_memory(sandbox, send)


def test_each_load_is_one_place_in_the_script(sandbox: Sandbox, send: Send) -> None:
    sandbox.ollama.next(faults.loading(0.01), faults.server_error(), faults.loading(0.01))
    url = f"{sandbox.ollama.url}/api/chat"
    assert [send(url, OLLAMA[1])[0] for _ in range(4)] == [200, 500, 200, 200]
    assert [request.fault for request in sandbox.ollama.requests] == [
        *("loading seconds=0.01", "server_error", "loading seconds=0.01", None)
    ]


def test_a_standing_load_is_met_by_everyone(sandbox: Sandbox, send: Send) -> None:
    sandbox.ollama.always(faults.loading(0.01))
    url = f"{sandbox.ollama.url}/api/chat"
    assert [send(url, OLLAMA[1])[0] for _ in range(2)] == [200, 200]
    assert _in_memory(sandbox, send) == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
def test_other_vendors_are_late_to_begin_and_list_at_once(path: str, sandbox: Sandbox, send: Send) -> None:
    sandbox.claude.next(faults.loading(0.02))
    status, _ = send(f"{sandbox.claude.url}{path}", MESSAGES[1] if path == "/v1/messages" else None, **HEADERS)
    assert status == 200
    waiting = sandbox.claude._schedule._script
    assert len(waiting) == (0 if path == "/v1/messages" else 1)
