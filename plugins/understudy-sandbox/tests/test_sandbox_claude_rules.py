"""The rules of November 2026: versions of the API, forced tools, thinking within the limit, and bound blocks."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from understudy_sandbox import Sandbox

MODEL = "claude-haiku-4-5"
OLDER = {"anthropic-version": "2023-06-01"}
USER: dict[str, Any] = {"role": "user", "content": "Hello there"}
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 3000, "messages": [USER]}
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
BETA = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}
CITED = {"type": "text", "text": "blue", "citations": [{"type": "char_location"}]}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
USE = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}
NO_FORCING = 'tool_choice: type "tool" and "any" are not supported for this model.'


def post(client: anthropic.Anthropic, headers: Any = None, **change: Any) -> Any:
    return client.post("/v1/messages", cast_to=object, body={**ASK, **change}, options={"headers": headers or {}})


def refusal(client: anthropic.Anthropic, headers: Any = None, **change: Any) -> str:
    with pytest.raises(anthropic.BadRequestError) as caught:
        post(client, headers, **change)
    assert caught.value.type == "invalid_request_error"
    message: str = caught.value.api_message
    return message


# ---- versions ----


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"temperature": 1.0}, "temperature: Extra inputs are not permitted"),
        ({"model": "claude-sonnet-5-5", "top_p": 0.99}, "top_p: Extra inputs are not permitted"),
        ({"model": "our-own-model", "top_k": 5}, "top_k: Extra inputs are not permitted"),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "document", "source": {}}]}, USER]},
            "messages.1.content.0: Input tag 'document' found using 'type' does not match any of the expected tags",
        ),
        (
            {"messages": [{"role": "user", "content": [CITED]}]},
            "messages.0.content.0.text.citations: Extra inputs are not permitted",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result", "content": [CITED]}]}]},
            "messages.0.content.0.search_result.citations: Extra inputs are not permitted",
        ),
    ],
)
def test_the_newest_version_has_taken_things_out(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, change: dict[str, Any], complaint: str
) -> None:
    newest = {"anthropic-version": "2026-10-21"}
    assert refusal(claude_client, newest, **change) == complaint
    if change.get("model") != "claude-sonnet-5-5":
        assert post(claude_client, OLDER, **change)["type"] == "message"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model": "claude-sonnet-5-5", "temperature": 0.5}, "`temperature` is deprecated for this model"),
        ({"model": "claude-opus-4-7", "top_p": 0.5}, "`top_p` is deprecated for this model"),
        ({"model": "claude-fable-5", "top_k": 5}, "`top_k` is deprecated for this model"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"temperature": 0.5, **BUDGET}, "may only be set to 1"),
    ],
)
def test_the_older_version_knows_which_models_take_sampling(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, change: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(claude_client, OLDER, **change)


def test_a_version_that_is_not_known_is_refused(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    assert refusal(claude_client, {"anthropic-version": "2027-01-01"}).endswith("is not a valid version")


# ---- what models refuse ----


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model": "claude-sonnet-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}}, NO_FORCING),
        ({"model": "claude-mythos-5-2", "tools": [TOOL], "tool_choice": {"type": "any"}}, NO_FORCING),
        ({**BUDGET, "tools": [TOOL], "tool_choice": {"type": "any"}}, "Thinking may not be enabled"),
        ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
        ({"model": "claude-haiku-5-5", **BUDGET}, '"thinking.type.enabled" is not supported for this model. Use "thin'),
        ({"model": "claude-sonnet-5-5", "thinking": {"type": "disabled"}}, 'Use "thinking.type.between_tools" for the'),
        ({"model": "claude-opus-5-5", "thinking": {"type": "between_tools"}}, "is not supported for this model"),
        (
            {"model": "claude-haiku-5-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
            "output_config.effort 'max' is not supported when thinking is disabled on this model",
        ),
        ({"output_config": {"effort": "low"}}, "This model does not support the effort parameter."),
        ({"model": "claude-haiku-5-5", "output_config": {"effort": "x"}}, "output_config.effort: Input should be"),
        ({"max_tokens": 64_001}, "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens"),
        ({"model": "claude-haiku-5-5", "max_tokens": 128_001}, "max_tokens: 128001 > 128000"),
        (
            {
                "messages": [USER, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}],
                "tools": [TOOL],
                **BUDGET,
            },
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, change: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(claude_client, **change)


def test_what_a_model_takes_is_answered(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    forced = {"tools": [TOOL], "tool_choice": {"type": "any"}}
    for change in (
        {"model": "claude-haiku-5-5", **forced},
        {"model": "claude-sonnet-5", **forced, "thinking": {"type": "adaptive"}},
        {"model": "claude-haiku-5-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
        {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}},
        {"model": "claude-opus-4-5", "output_config": {"effort": "high"}},
        {"model": "our-own-model", "thinking": {"type": "disabled"}, "max_tokens": 500_000},
    ):
        kinds = [block["type"] for block in post(claude_client, **change)["content"]]
        assert kinds == (["tool_use"] if "tools" in change else ["text"]), change


# ---- thinking within the limit ----


@pytest.mark.parametrize(
    ("model", "effort", "thought"),
    [
        ("claude-haiku-5-5", None, 240),
        ("claude-haiku-5-5", "low", 4),
        ("claude-sonnet-5-5", None, 1300),
        ("claude-opus-4-8", None, 0),
        (MODEL, None, 0),
    ],
)
def test_models_think_as_long_as_their_effort_says(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, model: str, effort: str | None, thought: int
) -> None:
    change = {"output_config": {"effort": effort}} if effort else {}
    message = claude_client.messages.create(**ASK | {"model": model} | change)
    assert [block.type for block in message.content] == (["thinking", "text"] if thought else ["text"])
    assert message.usage.output_tokens == 17 + thought
    details = message.usage.output_tokens_details
    assert (details.thinking_tokens if details else 0) == thought
    if thought:
        assert message.content[0].thinking == ""  # omitted unless asked for


@pytest.mark.parametrize(("limit", "text"), [(1024, None), (1300, None), (1303, "This is the")])
def test_thinking_counts_within_the_limit(
    sandbox: Sandbox, claude_client: anthropic.Anthropic, limit: int, text: str | None
) -> None:
    ask = ASK | {"model": "claude-sonnet-5-5", "max_tokens": limit}
    with claude_client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    for message in (claude_client.messages.create(**ask), streamed):
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", limit)
        assert [block.text for block in message.content if block.type == "text"] == ([text] if text else [])
        assert message.content[0].signature


# ---- bound blocks ----


def answered(client: anthropic.Anthropic, **change: Any) -> dict[str, Any]:
    content = post(client, **{"model": "claude-haiku-5-5", **change})["content"]
    assert content[0]["type"] == "thinking"
    return {"role": "assistant", "content": content}


def bound(client: anthropic.Anthropic, headers: Any = None, **change: Any) -> str:
    return refusal(client, headers, **{"model": "claude-haiku-5-5", **change})


def test_a_block_is_good_while_nothing_before_it_changes(sandbox: Sandbox, claude_client: anthropic.Anthropic) -> None:
    first = answered(claude_client, system="Be kind.")
    second = answered(claude_client, system="Be kind.", messages=[USER, first, USER])
    marked = {"role": "user", "content": [{"type": "text", "text": "Hello there", "cache_control": {"type": "x"}}]}
    bare = {"role": "assistant", "content": first["content"][1:]}
    for turns in ([USER, first, USER, second, USER], [marked, first, USER, second, USER], [USER, bare, USER, second]):
        change = {"model": "claude-haiku-5-5", "system": "Be kind.", "messages": [*turns[:4], USER]}
        assert post(claude_client, **change)["type"] == "message"


def test_a_change_before_a_block_is_refused_by_models_that_bind(
    sandbox: Sandbox, claude_client: anthropic.Anthropic
) -> None:
    first = answered(claude_client, system="Be kind.")
    second = answered(claude_client, system="Be kind.", messages=[USER, first, USER])
    third = answered(claude_client, system="Be kind.", messages=[USER, first, USER, second, USER])
    bare = {"role": "assistant", "content": second["content"][1:]}
    for change in (
        {"system": "Be unkind.", "messages": [USER, first, USER]},
        {"system": "Be kind.", "tools": [TOOL], "messages": [USER, first, USER]},
        {"system": "Be kind.", "messages": [{"role": "user", "content": "Hello you"}, first, USER]},
        {"system": "Be kind.", "messages": [USER, first, USER, bare, USER, third, USER]},  # one between is missing
    ):
        message = bound(claude_client, **change)
        assert "Invalid `signature` in `thinking` block. The block is bound to a different conversation." in message
        assert message.startswith("messages.")
        older = {**change, "model": "claude-opus-5"}
        assert post(claude_client, **older)["type"] == "message"
    drop = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    change = {"system": "Be unkind.", "messages": [USER, first, USER], "thinking": drop}
    assert post(claude_client, BETA, model="claude-haiku-5-5", **change)["type"] == "message"
    assert bound(claude_client, **change) == "thinking.adaptive.block_binding: Extra inputs are not permitted"


def test_a_signature_that_is_not_the_vendors_is_refused_by_every_model(
    sandbox: Sandbox, claude_client: anthropic.Anthropic
) -> None:
    forged = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]}
    for model in (MODEL, "claude-haiku-5-5"):
        message = refusal(claude_client, model=model, messages=[USER, forged, USER])
        assert message == "messages.1.content.0: Invalid `signature` in `thinking` block"


def test_a_block_of_another_account_is_dropped_without_an_error(
    sandbox: Sandbox, claude_client: anthropic.Anthropic
) -> None:
    first = answered(claude_client)
    with anthropic.Anthropic(api_key="another", base_url=sandbox.claude.url, max_retries=0) as other:
        change = {"model": "claude-haiku-5-5", "system": "Be unkind.", "messages": [USER, first, USER]}
        assert post(other, **change)["type"] == "message"
