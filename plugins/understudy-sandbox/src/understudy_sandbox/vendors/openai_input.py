"""What is wrong with a conversation, in OpenAI's two forms: messages, and input items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.text import identifier
from understudy_sandbox.vendors.conversation import unpaired
from understudy_sandbox.vendors.openai_problem import Problem, missing

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_MESSAGE_PARTS = {
    "user": ("input_text", "input_image", "input_file", "input_audio"),
    "assistant": ("output_text", "refusal"),
}
_ITEMS = ("message", "reasoning", "function_call", "function_call_output", "item_reference")


def wrong_messages(body: Mapping[str, Any]) -> Problem | None:
    """What Chat Completions has against the messages."""
    messages = body.get("messages")
    if messages is None:
        return missing("messages")
    if not isinstance(messages, list) or not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return Problem(400, message, "messages", "empty_array")
    for position, message in enumerate(messages):
        problem = _wrong_message(message, f"messages[{position}]")
        if problem is not None:
            return problem
    for position, call, answers in unpaired(messages):
        where = f"messages.[{position}].role"
        if answers:
            complaint = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            return Problem(400, f"Invalid parameter: {complaint}", where)
        complaint = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {call}"
        )
        return Problem(400, complaint, where)
    return None


def _wrong_message(message: Any, where: str) -> Problem | None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in _ROLES:
        listed = ", ".join(f"'{one}'" for one in _ROLES)
        return Problem(
            400, f"Invalid value: '{role}'. Supported values are: {listed}.", f"{where}.role", "invalid_value"
        )
    calls, content = message.get("tool_calls"), message.get("content")
    if content is None and not (role == "assistant" and (calls or message.get("refusal"))):
        complaint = "Invalid value for 'content': expected a string, got null."
        return Problem(400, complaint, f"{where}.content")
    if role == "tool" and not message.get("tool_call_id"):
        return missing(f"{where}.tool_call_id")
    if calls is not None and not calls:
        complaint = f"Invalid '{where}.tool_calls': empty array. Expected an array with minimum length 1."
        return Problem(400, complaint, f"{where}.tool_calls", "empty_array")
    for place, call in enumerate(calls or ()):
        arguments = (call.get("function") or {}).get("arguments")
        if not isinstance(arguments, str):
            name = f"{where}.tool_calls[{place}].function.arguments"
            return Problem(400, f"Invalid type for '{name}': expected a string.", name, "invalid_type")
    return None


def wrong_input(body: Mapping[str, Any]) -> Problem | None:
    """What Responses has against the input items. Nothing is stored here, so nothing earlier can be found."""
    if body.get("previous_response_id"):
        message = f"Previous response with id '{body['previous_response_id']}' not found."
        return Problem(400, message, "previous_response_id", "previous_response_not_found")
    items = body.get("input")
    if items is None:
        return missing("input")
    if isinstance(items, str):
        return None
    if not isinstance(items, list):
        return Problem(400, "Invalid type for 'input': expected a string or an array.", "input", "invalid_type")
    for position, item in enumerate(items):
        problem = _wrong_item(item, f"input[{position}]")
        if problem is not None:
            return problem
    return _wrong_pairs(items)


def sealed(account: str, *seeds: object) -> str:
    """Encrypt a thought for an account: others can do nothing with it."""
    return identifier("gAAAAA", account, length=12) + identifier("", account, *seeds, length=40)


def foreign_reasoning(body: Mapping[str, Any], account: str) -> Problem | None:
    """What Responses has against reasoning that was encrypted for another account, or that nobody encrypted."""
    items = body.get("input")
    for item in items if isinstance(items, list) else ():
        content = item.get("encrypted_content") if item.get("type") == "reasoning" else None
        if content is None or str(content).startswith(identifier("gAAAAA", account, length=12)):
            continue
        reason = "Encrypted content could not be decrypted or parsed."
        if str(content).startswith("gAAAAA"):
            reason = "Encrypted content organization_id did not match the target organization."
        shown = f"{str(content)[:4]}...{str(content)[-4:]}"
        message = f"The encrypted content {shown} could not be verified. Reason: {reason}"
        return Problem(400, message, None, "invalid_encrypted_content")
    return None


def _wrong_item(item: Mapping[str, Any], where: str) -> Problem | None:
    kind = item.get("type", "message")
    if kind not in _ITEMS:
        return Problem(400, f"Invalid value: '{kind}'.", f"{where}.type", "invalid_value")
    if kind == "item_reference" or (kind == "reasoning" and not item.get("encrypted_content")):
        message = (
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. Try "
            "again with `store` set to true, or remove this item from your input."
        )
        return Problem(404, message, "input")
    if kind == "reasoning" and item.get("summary") is None:
        return missing(f"{where}.summary")
    if kind == "function_call" and not isinstance(item.get("arguments"), str):
        message = f"Invalid type for '{where}.arguments': expected a string."
        return Problem(400, message, f"{where}.arguments", "invalid_type")
    if kind != "message" or isinstance(item.get("content"), str):
        return None
    allowed = _MESSAGE_PARTS.get(str(item.get("role")), _MESSAGE_PARTS["user"])
    for place, part in enumerate(item.get("content") or ()):
        if part.get("type") not in allowed:
            listed = ", ".join(f"'{one}'" for one in allowed)
            message = f"Invalid value: '{part.get('type')}'. Supported values are: {listed}."
            return Problem(400, message, f"{where}.content[{place}].type", "invalid_value")
    return None


def _wrong_pairs(items: list[Mapping[str, Any]]) -> Problem | None:
    called = [item.get("call_id") for item in items if item.get("type") == "function_call"]
    answered = [item.get("call_id") for item in items if item.get("type") == "function_call_output"]
    for call in answered:
        if call not in called:
            return Problem(400, f"No tool call found for function call output with call_id {call}.", "input")
    for call in called:
        if call not in answered:
            return Problem(400, f"No tool output found for function call {call}.", "input")
    return None
