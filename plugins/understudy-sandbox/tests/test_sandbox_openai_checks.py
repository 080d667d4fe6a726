"""What OpenAI turns away, in both of its APIs, seen through the real SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Sandbox

openai = pytest.importorskip("openai", reason="the SDK of OpenAI is not installed")

HELLO = {"role": "user", "content": "hello"}
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OPEN, "additionalProperties": False}


def schema_of(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, **more}}


CHAT: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    # what the request has, then the parameter, the code and a part of the message
    ({"model": None}, "model", "missing_required_parameter", "Missing required parameter: 'model'."),
    ({"messages": None}, "messages", "missing_required_parameter", "'messages'"),
    ({"messages": []}, "messages", "empty_array", "empty array"),
    ({"messages": [{"role": "model", "content": "x"}]}, "messages[0].role", "invalid_value", "'developer'"),
    ({"messages": [{"role": "user"}]}, "messages[0]", None, "expected a string, got null"),
    ({"messages": [HELLO, RESULT]}, "messages.[1].role", None, "must be a response to a preceeding message"),
    ({"messages": [HELLO, CALLING, HELLO]}, "messages.[2].role", None, "did not have response messages: t1"),
    ({"messages": [HELLO, CALLING]}, "messages.[2].role", None, "did not have response messages: t1"),
    ({"messages": [HELLO, CALLING, RESULT, RESULT]}, "messages.[3].role", None, "preceeding message"),
    (
        {"messages": [HELLO, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}]},
        "messages[1].tool_calls[0].function.arguments",
        "invalid_type",
        "expected a string",
    ),
    ({"top_k": 5}, "top_k", "unknown_parameter", "Unknown parameter: 'top_k'."),
    ({"temperature": 3}, "temperature", "decimal_above_max_value", "<= 2"),
    ({"top_p": -1}, "top_p", "decimal_below_min_value", ">= 0"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value", ">= 1"),
    ({"max_tokens": "5"}, "max_tokens", "invalid_type", "expected a integer"),
    ({"stop": ["a"] * 5}, "stop", "array_above_max_length", "maximum length 4"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None, "only allowed when 'stream'"),
    ({"tool_choice": "required"}, "tool_choice", None, "only allowed when 'tools' are specified"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value", "pat"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": OPEN}}]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "'additionalProperties' is required",
    ),
    ({"response_format": schema_of(CLOSED, strict=True)}, "response_format", "invalid_json_schema", "Missing 'a'"),
    ({"response_format": {"type": "json_object"}}, "messages", None, "must contain the word 'json'"),
    ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter", "not supported with this model"),
    ({"model": "gpt-5-mini", "max_tokens": 5}, "max_tokens", "unsupported_parameter", "'max_completion_tokens'"),
    ({"model": "o3", "max_tokens": 5}, "max_tokens", "unsupported_parameter", "'max_completion_tokens'"),
    ({"model": "gpt-6-luna", "temperature": 0.7}, "temperature", "unsupported_value", "does not support 0.7"),
    ({"model": "gpt-5-mini", "top_p": 0.5}, "top_p", "unsupported_parameter", "not supported"),
    ({"model": "gpt-5.4", "stop": ["x"]}, "stop", "unsupported_parameter", "not supported"),
    ({"model": "gpt-5.4", "stop": ["x"], "reasoning_effort": "none"}, "stop", "unsupported_parameter", "not supported"),
    ({"model": "gpt-6-astra", "stop": ["x"]}, "stop", "unsupported_parameter", "not supported"),
    ({"model": "gpt-6-luna", "stop": ["x"]}, "stop", "unsupported_parameter", "not supported"),
    (
        {"model": "gpt-6-luna", "reasoning_effort": "minimal"},
        "reasoning_effort",
        "unsupported_value",
        "'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'none', 'low', 'medium', "
        "'high', and 'xhigh'.",
    ),
    ({"model": "gpt-6-luna", "reasoning_effort": "max"}, "reasoning_effort", "unsupported_value", "'max'"),
    ({"model": "gpt-6-astra", "reasoning_effort": "none"}, "reasoning_effort", "unsupported_value", "'none'"),
    ({"model": "gpt-6.1-sol", "reasoning_effort": "none"}, "reasoning_effort", "unsupported_value", "'none'"),
    ({"model": "gpt-5-mini", "reasoning_effort": "none"}, "reasoning_effort", "unsupported_value", "'minimal'"),
    ({"model": "o3", "reasoning_effort": "xhigh"}, "reasoning_effort", "unsupported_value", "and 'high'."),
    (
        {"model": "gpt-6-luna", "max_completion_tokens": 128_001},
        "max_completion_tokens",
        "integer_above_max_value",
        "Expected a value <= 128000, but got 128001 instead.",
    ),
    ({"model": "gpt-5.6-terra", "tools": [TOOL]}, "reasoning_effort", None, "use /v1/responses or set"),
    ({"model": "gpt-6-luna", "tools": [TOOL], "reasoning_effort": "low"}, "reasoning_effort", None, "/v1/responses"),
]


@pytest.mark.parametrize(("change", "param", "code", "says"), CHAT, ids=str)
def test_bad_chat_requests_are_turned_away(
    sandbox: Sandbox, openai_client: Any, change: dict[str, Any], param: str | None, code: str | None, says: str
) -> None:
    check(openai_client, "/chat/completions", {"model": "gpt-4.1", "messages": [HELLO]} | change, param, code, says)


def check(client: Any, path: str, body: Any, param: str | None, code: str | None, says: str) -> None:
    sent = {name: value for name, value in body.items() if value is not None}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(path, cast_to=object, body=sent)
    error = caught.value
    assert says in error.message
    assert (error.type, error.code) == ("invalid_request_error", code)
    assert (error.param or "").startswith(param or "")


OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}
FUNCTION_CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
RESPONSES: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    ({"input": None}, "input", "missing_required_parameter", "'input'"),
    ({"messages": []}, "messages", "unknown_parameter", "Unknown parameter: 'messages'."),
    ({"stop": "x"}, "stop", "unknown_parameter", "Unknown parameter: 'stop'."),
    ({"max_output_tokens": 5}, "max_output_tokens", "integer_below_min_value", ">= 16"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found", "'resp_1' not found"),
    ({"input": [HELLO, OUTPUT]}, "input", None, "No tool call found for function call output with call_id c1."),
    ({"input": [HELLO, FUNCTION_CALL]}, "input", None, "No tool output found for function call c1."),
    ({"input": [{**FUNCTION_CALL, "arguments": {}}]}, "input[0].arguments", "invalid_type", "expected a string"),
    ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "input[0].content[0]", "invalid_value", "input_tex"),
    ({"input": [{"role": "assistant", "content": [{"type": "input_text"}]}]}, "input[0]", "invalid_value", "output_t"),
    ({"input": [{"type": "nonsense"}]}, "input[0].type", "invalid_value", "'nonsense'"),
    ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0].summary", "missing_required", "summary"),
    ({"temperature": 0.7}, "temperature", None, "Unsupported parameter: 'temperature'"),
    (
        {"reasoning": {"effort": "minimal"}},
        "reasoning.effort",
        "unsupported_value",
        "'minimal' is not supported with the 'gpt-6-luna' model. Supported values are: 'none', 'low', 'medium', "
        "'high', 'xhigh', and 'max'.",
    ),
    (
        {"model": "gpt-6-astra", "reasoning": {"effort": "none"}},
        "reasoning.effort",
        "unsupported_value",
        "Supported values are: 'low', 'medium', 'high', 'xhigh', and 'max'.",
    ),
    (
        {"model": "gpt-5-pro", "reasoning": {"effort": "low"}},
        "reasoning.effort",
        "unsupported_value",
        "Supported values are: 'high'.",
    ),
    ({"max_output_tokens": 128_001}, "max_output_tokens", "integer_above_max_value", "<= 128000"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "missing_required", "schema"),
    ({"model": "gpt-4.1", "reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter", "reasoning"),
]


@pytest.mark.parametrize(("change", "param", "code", "says"), RESPONSES, ids=str)
def test_bad_responses_requests_are_turned_away(
    sandbox: Sandbox, openai_client: Any, change: dict[str, Any], param: str | None, code: str | None, says: str
) -> None:
    code = "missing_required_parameter" if code == "missing_required" else code
    check(openai_client, "/responses", {"model": "gpt-6-luna", "input": "hello"} | change, param, code, says)


def test_a_thought_is_only_known_by_its_encrypted_content(sandbox: Sandbox, openai_client: Any) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    with pytest.raises(openai.NotFoundError, match=r"Item with id 'rs_1' not found. Items are not persisted"):
        openai_client.responses.create(model="gpt-6-luna", input=[HELLO, thought])
    with pytest.raises(openai.BadRequestError, match="could not be decrypted or parsed") as caught:
        openai_client.responses.create(model="gpt-6-luna", input=[HELLO, {**thought, "encrypted_content": "x"}])
    assert caught.value.code == "invalid_encrypted_content"


def test_a_thought_is_encrypted_for_the_account_that_it_came_to(sandbox: Sandbox, openai_client: Any) -> None:
    ask: dict[str, Any] = {"model": "gpt-6-luna", "include": ["reasoning.encrypted_content"], "store": False}
    thought, said = openai_client.responses.create(**ask, input="hello").output
    again = [HELLO, thought.model_dump(exclude_none=True), said.model_dump(exclude_none=True), HELLO]
    assert openai_client.responses.create(**ask, input=again).output_text
    with pytest.raises(openai.BadRequestError, match="organization_id did not match the target organization") as caught:
        openai_client.with_options(api_key="another").responses.create(**ask, input=again)
    assert (caught.value.code, caught.value.param) == ("invalid_encrypted_content", None)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-4.1", "temperature": 0.7, "max_tokens": 5, "stop": ["x"], "tools": [TOOL]},
        {"model": "gpt-5-mini", "temperature": 1, "max_completion_tokens": 50},
        {"model": "gpt-6-luna", "temperature": 0.7, "reasoning_effort": "none", "tools": [TOOL]},
        {"model": "gpt-5.6-terra", "stop": ["x"], "reasoning_effort": "none"},
        {"model": "gpt-6-luna", "max_completion_tokens": 128_000, "reasoning_effort": "xhigh"},
        {"model": "gpt-5.1", "temperature": 0.7},
        {"model": "gpt-5-chat-latest", "temperature": 0.7, "max_tokens": 5},
        {"model": "llama-4-scout", "temperature": 0.7, "max_tokens": 5, "reasoning_effort": "low"},
        {"model": "gpt-4.1", "messages": [HELLO, CALLING, RESULT, HELLO]},
    ],
    ids=str,
)
def test_what_is_right_is_answered(sandbox: Sandbox, openai_client: Any, body: dict[str, Any]) -> None:
    assert openai_client.chat.completions.create(**{"messages": [HELLO], **body}).choices


def test_unknown_model_missing_key_and_unknown_path(
    sandbox: Sandbox, openai_client: Any, send: Callable[..., tuple[int, str]]
) -> None:
    with pytest.raises(openai.NotFoundError, match="`no-such-model` does not exist") as caught:
        openai_client.chat.completions.create(model="no-such-model", messages=[HELLO])
    assert (caught.value.code, caught.value.param) == ("model_not_found", None)
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        openai_client.responses.create(model="no-such-model", input="hello")
    with pytest.raises(openai.AuthenticationError, match="You didn't provide an API key"):
        openai_client.responses.create(model="m", input="x", extra_headers={"Authorization": openai.Omit()})
    url = sandbox.openai.url
    assert send(f"{url}/chat/completions", {})[0] == 404
    status, body = send(f"{url}/v1/chat/completions")
    assert (status, "different HTTP method" in body) == (405, True)
    status, body = send(f"{url}/v1/responses", [1])
    assert (status, "could not parse the JSON body" in body) == (400, True)
