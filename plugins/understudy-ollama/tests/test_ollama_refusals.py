"""What a server refuses, over the wire: the same model asked once more in another way, and remembered."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import LLMFactory, Message, Request, ToolCall, ToolResult
from understudy_ollama.refusals import remedy
from understudy_ollama.wire import request_body
from understudy_toolkit.conformance.fault_server import FaultServer, ReceivedRequest, Reply

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
THINK = {"options": {"ollama": {"think": "low"}}}
IN_WORDS = {"output_schema": SCHEMA}

# The words of a refusal, its status, what was asked, the adaptation, the settings of warnings, what is sent then.
REFUSALS: list[tuple[str, int, dict[str, Any], str, set[str], dict[str, Any]]] = [
    ('"llama3.2" does not support thinking', 400, THINK, "without think", {"think"}, {"think": None}),
    ('think value "low" is not supported for this model', 400, THINK, "without think", {"think"}, {"think": None}),
    ('invalid think value: "low" (must be true or false)', 400, THINK, "without think", {"think"}, {"think": None}),
    # not a wish of the caller's: the least thinking for a short answer
    (
        'think value "low" is not supported for this model',
        *(400, {"model": "qwen3.8"}, "without think", set(), {"think": None}),
    ),
    ("invalid JSON schema in format", 500, IN_WORDS, "in JSON mode", {"output_schema"}, {"format": "json"}),
    ("failed to parse grammar", 400, IN_WORDS, "in JSON mode", {"output_schema"}, {"format": "json"}),
    (
        "json: cannot unmarshal object into Go struct field ChatRequest.format of type string",
        *(400, IN_WORDS, "in JSON mode", {"output_schema"}, {"format": "json"}),
    ),
    (
        "failed to load grammar",
        *(500, {"options": {"ollama": {"format": "json"}}}, "without format", {"format"}, {"format": None}),
    ),
]


def _answer(text: str, asked: ReceivedRequest) -> Reply:
    counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 1}
    if not asked.json["stream"]:
        return Reply({"message": {"content": text}, **counts})
    return Reply.lines({"message": {"content": text}, "done": False}, {"message": {"content": ""}, **counts})


@pytest.mark.parametrize("how", ["plain", "streamed"])
@pytest.mark.parametrize(("words", "status", "asked", "adaptation", "settings", "sent"), REFUSALS)
def test_what_a_refusal_says_how_to_mend_is_mended_at_once_and_remembered(
    words: str,
    status: int,
    asked: dict[str, Any],
    adaptation: str,
    settings: set[str],
    sent: dict[str, Any],
    how: str,
    lane: str,
) -> None:
    bodies: list[Any] = []

    def reply(received: ReceivedRequest) -> Reply:
        if received.method == "GET":
            return Reply({"models": []})
        bodies.append(received.json)
        return Reply({"error": words}, status=status) if len(bodies) == 1 else _answer('{"a": "b"}', received)

    with FaultServer(reply) as server:
        environment = {"OLLAMA_BASE_URL": server.url, "OLLAMA_MODEL": "llama3.2", "OLLAMA_TRANSPORT": lane}
        factory = LLMFactory("ollama", [], settings=environment, extensions=[])
        for number in (1, 2):
            if how == "plain":
                response = factory.generate_content("Hello", max_retries=0, **{"max_tokens": 9, **asked})
            else:
                *_, last = factory.stream_content("Hello", max_retries=0, **{"max_tokens": 9, **asked})
                response = last.response
            assert response.content == '{"a": "b"}'
            assert {warning.setting for warning in response.warnings} == settings
            assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"][number - 1 :]
            if number == 1:
                assert response.attempts[0].failure is not None
                assert response.attempts[0].failure.adaptation == adaptation
        factory.close()
    assert len(bodies) == 3
    for body in bodies[1:]:
        assert {name: body.get(name) for name in sent} == sent
        assert len([one for one in body["messages"] if one["role"] == "system"]) == ("output_schema" in settings)


def test_a_refusal_that_says_nothing_of_the_kind_is_only_a_refusal() -> None:
    body = {"model": "x", "messages": [], "options": {"temperature": 0.0}}
    for words in ('"x" does not support thinking', "invalid JSON schema in format", "does not support tools"):
        assert remedy(words, body) is None, words
    assert remedy("does not support tools", {**body, "think": True, "format": {}}) is None


def test_results_stand_in_the_order_of_their_calls_whatever_order_they_came_in() -> None:
    calls = [ToolCall(id=name, name="look") for name in ("a", "b", "c")]
    results = [Message.tool(ToolResult(call_id=name, content=name)) for name in ("c", "a", "b")]
    turns = (Message.user("?"), Message.assistant(*calls), *results, Message.user("And?"))
    body, _ = request_body(Request(messages=turns), "llama3.2")
    found = [one["content"] for one in body["messages"] if one["role"] == "tool"]
    assert found == ["a", "b", "c"]
    assert body["messages"][-1]["content"] == "And?"
