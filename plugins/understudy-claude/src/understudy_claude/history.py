"""A conversation as the Messages API wants it: turns of user and assistant, made of blocks.

What came in a reply and goes back only to the account that it came from (thinking, the tools that Anthropic runs
itself, citations) travels in `provider_data["claude"]`, with the account beside it, which is never sent.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from understudy import File, Image, Message, Part, ResponseWarning, Text, Thinking, ToolCall, ToolResult
from understudy_claude.failures import PROVIDER, WITHOUT_THINKING

Json = dict[str, Any]

_ACCOUNT = "claude-account"  # in provider_data, beside what came from that account
_THINKING = ("thinking", "redacted_thinking")
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")  # other vendors' ids of tool calls may hold what this API refuses

_PICTURE = "images and files in an assistant's message were left out: Claude takes them from the user only"
_FOREIGN = "thinking of another Claude account was left out: it goes to the account that it came from, and nowhere else"
_REFUSED = "thinking of earlier turns was left out: Claude refused it, since something before it has changed"


def account_mark(credential: str) -> str:
    """Return what tells an account from others in a conversation; it names neither key nor address."""
    return hashlib.sha256(credential.encode()).hexdigest()[:10] if credential else ""


def marked(own: Mapping[str, Any], account: str) -> dict[str, Mapping[str, Any]]:
    """Return the provider_data of a part that came with a reply.

    Args:
        own: what Claude wants back with it.
        account: the mark of the account that it came from; "" to tell none.
    """
    return {PROVIDER: own, _ACCOUNT: {"mark": account}} if account else {PROVIDER: own}


def turns_of(
    messages: Iterable[Message], account: str = "", adaptation: str | None = None
) -> tuple[list[Json], tuple[ResponseWarning, ...]]:
    """Turn messages into turns of user and assistant, neighbours of one role joined, tool results first.

    Args:
        messages: the conversation.
        account: the mark of the account that is asked.
        adaptation: WITHOUT_THINKING leaves out every thinking block. To keep those of an open tool turn would not
            help: a change before one block is a change before all that follow.

    Returns:
        The turns, and what was left out of them.
    """
    turns: list[Json] = []
    lost: list[str] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        parts = message.parts
        if role == "assistant" and any(isinstance(part, Image | File) for part in parts):
            parts = tuple(part for part in parts if not isinstance(part, Image | File))
            lost.append(_PICTURE)
        blocks = []
        for part in parts:
            own, why = _own(part, role, account, adaptation)
            lost += [why] if why else []
            block = _BLOCKS[type(part)](part, own)
            if block is not None:
                blocks.append(block)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable: the rest keeps its order
    return turns, tuple(ResponseWarning("messages", why) for why in dict.fromkeys(lost))


def open_turn_lacks_thinking(turns: list[Json]) -> bool:
    """Return whether results of tools stand last, and the answer that called them does not begin with thinking."""
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return turns[-2]["content"][0]["type"] not in _THINKING


def _own(part: Part, role: str, account: str, adaptation: str | None) -> tuple[Mapping[str, Any], str]:
    """Return what Claude wants back with a part, and why that is nothing, where something was left out."""
    own = part.provider_data.get(PROVIDER)
    if not own:
        return {}, ""
    came_from = part.provider_data.get(_ACCOUNT, {}).get("mark", account)
    if came_from != account:
        return {}, _FOREIGN if isinstance(part, Thinking) else ""
    if adaptation == WITHOUT_THINKING and own.get("type") in _THINKING:
        return {}, _REFUSED
    if role == "user" and own.get("citations"):
        return {name: value for name, value in own.items() if name != "citations"}, ""  # 400 since 2026-10-21
    return own, ""


def _text_block(part: Text, own: Mapping[str, Any]) -> Json | None:
    return {"type": "text", "text": part.text, **own} if part.text.strip() else None  # the API refuses blank texts


def _image_block(part: Image, own: Mapping[str, Any]) -> Json:
    return {"type": "image", "source": _source(part), **own}


def _file_block(part: File, own: Mapping[str, Any]) -> Json:
    block: Json = {"type": "document", "source": _source(part)}
    if part.media_type is not None and part.media_type.startswith("text/") and part.data is not None:
        text = part.data.decode("utf-8", "replace")
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    if part.name:
        block["title"] = part.name
    return {**block, **own}


def _source(part: Image | File) -> Json:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": base64.b64encode(part.data).decode("ascii")}


def _tool_use_block(part: ToolCall, own: Mapping[str, Any]) -> Json:
    return {"type": "tool_use", "id": _identifier(part.id), "name": part.name, "input": dict(part.arguments), **own}


def _tool_result_block(part: ToolResult, own: Mapping[str, Any]) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": _identifier(part.call_id)}
    if isinstance(part.content, str):
        block["content"] = part.content
    else:
        inner = (_BLOCKS[type(piece)](piece, _own(piece, "user", "", None)[0]) for piece in part.content)
        block["content"] = [piece for piece in inner if piece is not None]
    if part.is_error:
        block["is_error"] = True
    return {**block, **own}


def _identifier(call_id: str) -> str:
    return _NOT_IN_AN_ID.sub("_", call_id)


def _thinking_block(part: Thinking, own: Mapping[str, Any]) -> Json | None:
    return dict(own) if own else None  # the block as it came: its signature fits no other wording


_BLOCKS: Mapping[type, Callable[[Any, Mapping[str, Any]], Json | None]] = {
    Text: _text_block,
    Image: _image_block,
    File: _file_block,
    ToolCall: _tool_use_block,
    ToolResult: _tool_result_block,
    Thinking: _thinking_block,
}
