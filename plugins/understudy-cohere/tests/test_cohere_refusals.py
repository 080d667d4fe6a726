"""What the API refuses, over the wire: the same model asked once more in another way, and remembered."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import LLMFactory, Message, Request, Tool, ToolCall, ToolResult
from understudy.errors import RequestRefused, UnsupportedRequest
from understudy_cohere.refusals import remedy
from understudy_cohere.wire import request_body
from understudy_toolkit.conformance.fault_server import FaultServer, ReceivedRequest, Reply

USAGE = {"tokens": {"input_tokens": 3, "output_tokens": 1}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
JSON_MODE = {"type": "json_object"}
TOOL = Tool(name="look")
PLAIN = "command-a-03-2025"

# The words of a refusal, its status, what was asked, the adaptation, the setting that the warning names, and what is
# no longer sent, or sent with another value.
REFUSALS: list[tuple[str, int, dict[str, Any], str, str, dict[str, Any]]] = [
    (
        "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model.",
        *(400, {"max_tokens": 5000}, "with a limit of at most 4096", "max_tokens", {"max_tokens": 4096}),
    ),
    (
        "temperature is not supported for this model",
        *(400, {"temperature": 0.5}, "without temperature", "temperature", {"temperature": None}),
    ),
    (
        "unknown field: parameter 'strict_tools' is not a valid field. For proper usage, refer to the reference",
        *(422, {"options": {"cohere": {"strict_tools": True}}, "tools": (TOOL,)}),
        *("without strict_tools", "strict_tools", {"strict_tools": None}),
    ),
    (
        "invalid request: only one of 'presence_penalty' and 'frequency_penalty' can be specified for this model.",
        *(400, {"options": {"cohere": {"presence_penalty": 0.5, "frequency_penalty": 0.5}}}),
        *("without presence_penalty", "presence_penalty", {"presence_penalty": None, "frequency_penalty": 0.5}),
    ),
    (
        "invalid request: 'k' must be between 0 and 500",
        *(400, {"options": {"cohere": {"k": 900}}}, "without k", "k", {"k": None}),
    ),
    (
        "tool_choice is not supported for this model",
        *(
            400,
            {"tools": (TOOL,), "tool_choice": "required"},
            "without tool_choice",
            "tool_choice",
            {"tool_choice": None},
        ),
    ),
    (
        "invalid request: json_schema is not supported for this model",
        *(
            400,
            {"output_schema": SCHEMA},
            "in JSON mode",
            "output_schema",
            {"response_format": {"type": "json_object"}},
        ),
    ),
    (
        "property title must have a type",
        *(
            400,
            {"output_schema": SCHEMA},
            "in JSON mode",
            "output_schema",
            {"response_format": {"type": "json_object"}},
        ),
    ),
    (
        "invalid request: response_format is not supported with RAG.",
        *(400, {"output_schema": SCHEMA}, "without response_format", "output_schema", {"response_format": None}),
    ),
]


def _answer(text: str, asked: ReceivedRequest) -> Reply:
    if not asked.json["stream"]:
        content = [{"type": "text", "text": text}]
        return Reply({"id": "c", "message": {"content": content}, "finish_reason": "COMPLETE", "usage": USAGE})
    delta = {"message": {"content": {"text": text}}}
    return Reply.events(
        {"type": "content-delta", "index": 0, "delta": delta},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
    )


@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("how", ["plain", "streamed"])
@pytest.mark.parametrize(("words", "status", "asked", "adaptation", "setting", "sent"), REFUSALS)
def test_what_a_refusal_says_how_to_mend_is_mended_at_once_and_remembered(
    words: str,
    status: int,
    asked: dict[str, Any],
    adaptation: str,
    setting: str,
    sent: dict[str, Any],
    how: str,
    lane: str,
) -> None:
    bodies: list[Any] = []

    def reply(received: ReceivedRequest) -> Reply:
        bodies.append(received.json)
        return Reply({"message": words}, status=status) if len(bodies) == 1 else _answer('{"a": "b"}', received)

    with FaultServer(reply) as server:
        environment = {"COHERE_API_KEY": "k", "COHERE_BASE_URL": server.url, "COHERE_TRANSPORT": lane}
        factory = LLMFactory("cohere", [], settings=environment, extensions=[])
        for number in (1, 2):
            if how == "plain":
                response = factory.generate_content("Hello", max_retries=0, **{"max_tokens": 9, **asked})
            else:
                *_, last = factory.stream_content("Hello", max_retries=0, **{"max_tokens": 9, **asked})
                response = last.response
            assert response.content == '{"a": "b"}'
            assert setting in [warning.setting for warning in response.warnings]
            assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"][number - 1 :]
            if number == 1:
                assert response.attempts[0].failure is not None
                assert response.attempts[0].failure.adaptation == adaptation
        factory.close()
    assert len(bodies) == 3
    for body in bodies[1:]:
        assert {name: body.get(name) for name in sent} == sent
        told = [one["content"] for one in body["messages"] if one["role"] == "system"]
        assert len(told) == ("schema" in setting)


def test_a_refusal_that_says_nothing_of_the_kind_is_only_a_refusal() -> None:
    body = {"model": PLAIN, "messages": [], "temperature": 0.0, "max_tokens": 9, "k": 4}
    for words in (
        "system turn must be the first in the list",
        "tool call id not found in previous tool calls",
        "multi step is not supported by the provided model",
        "the temperature of the water is fine",
        "max tokens must be less than or equal to 4096",
        "frequency_penalty is not supported for this model",
        "invalid tool generation",
        "invalid request: a bank is not supported",  # a "k" is no name
    ):
        assert remedy(words, body) is None, words


@pytest.mark.parametrize(
    ("message", "kind"), [("some words", RequestRefused), ("it is not supported", UnsupportedRequest)]
)
def test_the_next_target_is_asked_where_nothing_mends_it(message: str, kind: type, lane: str) -> None:
    with FaultServer(lambda asked: Reply({"message": message}, status=400)) as server:
        environment = {"COHERE_API_KEY": "k", "COHERE_BASE_URL": server.url, "COHERE_TRANSPORT": lane}
        factory = LLMFactory("cohere", [], settings=environment, extensions=[])
        response = factory.generate_content("Hello", max_retries=0)
        factory.close()
    assert [type(attempt.failure) for attempt in response.attempts] == [kind]


def test_ids_that_repeat_over_the_turns_are_told_apart_and_results_go_with_their_calls() -> None:
    turns = []
    for city in ("Bern", "Rome"):
        call = ToolCall(id="call_0", name="look", arguments={"city": city})
        turns += [Message.user("?"), Message.assistant(call), Message.tool(ToolResult(call_id="call_0", content=city))]
    body, _ = request_body(Request(messages=tuple(turns), tools=(TOOL,)), PLAIN)
    calls = {one["tool_calls"][0]["id"]: one["tool_calls"][0] for one in body["messages"] if "tool_calls" in one}
    results = {one["tool_call_id"]: one["content"] for one in body["messages"] if one["role"] == "tool"}
    assert len(calls) == 2
    assert {id_: call["function"]["arguments"] for id_, call in calls.items()} == {
        id_: f'{{"city": "{city}"}}' for id_, city in results.items()
    }
