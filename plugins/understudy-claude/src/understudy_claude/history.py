"""A conversation in the form of the Messages API: turns of user and assistant, made of blocks.

What came in a reply and is sent back only to the account that it came from (thinking, the tools that Anthropic runs
itself, citations) travels in `provider_data["claude"]`, with the account beside it, which is never sent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from understudy import File, Image, Message, Part, ResponseWarning, Text, Thinking, ToolCall, ToolResult
from understudy_claude.failures import PROVIDER, WITH_THOUGHTS, WITHOUT_THINKING
from understudy_toolkit.pairing import paired, plain_name

Json = dict[str, Any]

_ACCOUNT = "claude-account"  # in provider_data, beside what came from that account
_THINKING = ("thinking", "redacted_thinking")

# A tool that failed has to say something: `content` cannot be empty where `is_error` is true. And the first turn is the
# user's, with a text that is not blank: NousResearch/hermes-agent#70910, read 2026-11-30.
_SAID_NOTHING = "The tool failed and said nothing."
_BEFORE = "(The conversation begins here.)"
_NOT_KEPT = "(This thought was not kept.)"

_PICTURE = "images and files in an assistant's message were left out: Claude takes them from the user only"
_FOREIGN = "thinking from another Claude account was left out: it is sent only to the account that it came from"
_BEGUN = "the conversation began with the assistant: a line from the user was put before it, since Claude needs one"
_REFUSED = "thinking from earlier turns was left out: Claude refused it, since something before it has changed"
NO_CALL = "results of tools that were not called were sent as text: Claude accepts a result only right after its call"
ADDED = "a call without a result got one that says so: Claude accepts no call without a result"


def account_mark(credential: str) -> str:
    """Return what distinguishes an account from others in a conversation; it reveals neither key nor address."""
    return hashlib.sha256(credential.encode()).hexdigest()[:10] if credential else ""


def marked(own: Mapping[str, Any], account: str) -> dict[str, Mapping[str, Any]]:
    """Return the provider_data of a part that came with a reply.

    Args:
        own: what has to be sent back to Claude with it.
        account: the mark of the account that it came from; "" for none.
    """
    return {PROVIDER: own, _ACCOUNT: {"mark": account}} if account else {PROVIDER: own}


def turns_of(
    messages: Iterable[Message], account: str = "", adapted: Collection[str] = ()
) -> tuple[list[Json], tuple[ResponseWarning, ...]]:
    """Turn messages into turns of user and assistant, each call of a tool with its result right after it.

    Args:
        messages: the conversation.
        account: the mark of the account that is asked.
        adapted: WITHOUT_THINKING leaves out every thinking block. Keeping those of an open tool turn would not help: a
            change before one block is a change before all that follow. WITH_THOUGHTS adds one to each answer without.

    Returns:
        The turns, and what was left out of them.
    """
    turns: list[Json] = []
    pairs, orphaned, added = paired(messages)
    lost = [NO_CALL] * orphaned + [ADDED] * added
    for role, parts in pairs:
        if role == "assistant" and any(isinstance(part, Image | File) for part in parts):
            parts = [part for part in parts if not isinstance(part, Image | File)]
            lost.append(_PICTURE)
        parts = [*parts, *_beside_errors(parts)]
        blocks = []
        for part in parts:
            own, why = _own(part, role, account, adapted)
            lost += [why] if why else []
            block = _BLOCKS[type(part)](part, own)
            if block is not None:
                blocks.append(block)
        if not blocks:
            continue
        if role == "assistant" and WITH_THOUGHTS in adapted and blocks[0]["type"] not in _THINKING:
            thought = next((part.text for part in parts if isinstance(part, Thinking) and part.text.strip()), _NOT_KEPT)
            blocks.insert(0, {"type": "thinking", "thinking": thought, "signature": ""})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _BEFORE}]})
        lost.append(_BEGUN)
    return turns, tuple(ResponseWarning("messages", why) for why in dict.fromkeys(lost))


def open_turn_lacks_thinking(turns: list[Json]) -> bool:
    """Return whether tool results come last, and the answer that called them does not begin with thinking."""
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return turns[-2]["content"][0]["type"] not in _THINKING


def _own(part: Part, role: str, account: str, adapted: Collection[str]) -> tuple[Mapping[str, Any], str]:
    """Return what has to be sent back to Claude with a part, and, if something was left out, why."""
    own = part.provider_data.get(PROVIDER)
    if not own:
        return {}, ""
    came_from = part.provider_data.get(_ACCOUNT, {}).get("mark", account)
    if came_from != account:
        return {}, _FOREIGN if isinstance(part, Thinking) else ""
    if WITHOUT_THINKING in adapted and own.get("type") in _THINKING:
        return {}, _REFUSED
    if role == "user" and own.get("citations"):
        return {name: value for name, value in own.items() if name != "citations"}, ""  # 400 since 2026-10-21
    return own, ""


def _text_block(part: Text, own: Mapping[str, Any]) -> Json | None:
    return {"type": "text", "text": part.text, **own} if part.text.strip() else None  # the API refuses blank text


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
    return {"type": "tool_use", "id": part.id, "name": plain_name(part.name), "input": dict(part.arguments), **own}


def _tool_result_block(part: ToolResult, own: Mapping[str, Any]) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": part.call_id}
    content: str | list[Json]
    if isinstance(part.content, str):
        content = part.content if part.content.strip() else ""
    else:
        taken = [piece for piece in part.content if isinstance(piece, Text) or not part.is_error]
        inner = (_BLOCKS[type(piece)](piece, _own(piece, "user", "", ())[0]) for piece in taken)
        content = [piece for piece in inner if piece is not None]
    if content or part.is_error:
        block["content"] = content or _SAID_NOTHING
    if part.is_error:
        block["is_error"] = True
    return {**block, **own}


def _beside_errors(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the pictures and files of failed results, which go after the results.

    The API takes texts alone in them: 'all content must be type "text" if "is_error" is true'. Found in several
    clients' guards against it, read 2026-12-01.
    """
    for part in parts:
        if isinstance(part, ToolResult) and part.is_error and not isinstance(part.content, str):
            yield from (piece for piece in part.content if not isinstance(piece, Text))


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
