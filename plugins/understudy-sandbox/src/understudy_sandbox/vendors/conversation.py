"""Reading requests in the form that OpenAI began and others took over: messages with roles, tools with a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy_sandbox.text import Tool, as_text


def parts(content: Any) -> list[Mapping[str, Any]]:
    """The parts of a message's content; a plain text is one part."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content or () if isinstance(part, Mapping)]


def text_of(content: Any) -> str:
    """The texts of a message's content, whatever the kind of text, as one."""
    return "\n".join(part["text"] for part in parts(content) if isinstance(part.get("text"), str))


def last_said(messages: Sequence[Mapping[str, Any]]) -> str:
    """The last text that the user said."""
    texts = (text_of(message.get("content")) for message in reversed(messages) if message.get("role") == "user")
    return next((text for text in texts if text), "")


def attachments(message: Mapping[str, Any]) -> tuple[str, ...]:
    """What a message brings besides text: the media types that data URLs tell, else the kinds of parts."""
    others = (part for part in parts(message.get("content")) if "text" not in part and "type" in part)
    return tuple(_media_type(part) for part in others)


def _media_type(part: Mapping[str, Any]) -> str:
    kind = str(part["type"])
    named = part.get(kind, part)
    url = named.get("url", named.get("image_url", named.get("file_data"))) if isinstance(named, Mapping) else named
    if isinstance(url, str) and url.startswith("data:"):
        return url.removeprefix("data:").partition(";")[0]
    return kind


def final_results(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The contents of the tool messages in which a conversation ends."""
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        content = message.get("content")
        results.insert(0, content if isinstance(content, str) else text_of(content) or as_text(content))
    return tuple(results)


def offered(tools: Any) -> tuple[Tool, ...]:
    """The function tools of a request; those without parameters take none."""
    functions = (tool["function"] for tool in tools or () if isinstance(tool.get("function"), Mapping))
    return tuple(Tool(one["name"], one.get("parameters") or {"type": "object"}) for one in functions)


def unpaired(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, bool]]:
    """The tool messages that answer no call, and the calls that no tool message answers before the talk goes on.

    Yields the position of the message that is wrong, the id of the call, and whether a tool message answers it.
    """
    asked: list[str] = []
    for position, message in enumerate(messages):
        if message.get("role") == "tool":
            call = str(message.get("tool_call_id"))
            if call not in asked:
                yield position, call, True
            else:
                asked.remove(call)
            continue
        if asked:
            yield position, ", ".join(asked), False
        asked = [str(call.get("id")) for call in message.get("tool_calls") or ()]
    if asked:
        yield len(messages), ", ".join(asked), False
