"""Matches tool calls with their results: each call gets an id of its own, and one result right after its turn.

Conversations come from other vendors too, whose ids may repeat, be empty, or hold what an API refuses, and which take
results in several messages, in any order, or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from understudy.messages import Message, Part, Text, ToolCall, ToolResult

__all__ = ["NO_RESULT", "paired", "plain_id", "plain_name"]

# An id matches ^[a-zA-Z0-9_-]+$ (maximhq/bifrost#5097) and is unique in the conversation (trycua/cua#524); Amazon's
# Bedrock, which takes the same messages, allows 64 characters:
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolUseBlock.html. Read 2026-11-30.
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64

NO_RESULT = "There is no result of this call."


@dataclass(slots=True)
class _Turn:
    role: str
    parts: list[Part] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    given: list[str] = field(default_factory=list)  # the ids of its calls as they were given


def plain_id(given: str) -> str:
    """Return an id of letters, digits, dashes and underscores, at most 64: the given one, where it is such."""
    made = _NOT_IN_AN_ID.sub("_", given) or "call"
    if len(made) > _LONGEST:
        made = f"{made[:48]}_{hashlib.sha256(given.encode('utf-8', 'replace')).hexdigest()[:12]}"
    return made


def plain_name(name: str, refused: str = r"[^A-Za-z0-9_-]") -> str:
    """Return the name of a tool as an API takes it: models make up names, and a conversation keeps them.

    `multi_tool_use.parallel` and `functions.look:0` are such names, which the next vendor refuses:
    strands-agents/harness-sdk#1069, read 2026-12-01.

    Args:
        name: the name.
        refused: a pattern of each character that the API does not take.
    """
    made = re.sub(refused, "_", name)[:_LONGEST]
    return made if made[:1].isalpha() or made[:1] == "_" else f"_{made}"[:_LONGEST]


def paired(messages: Iterable[Message]) -> tuple[list[tuple[str, list[Part]]], bool, bool]:
    """Return a conversation with each call's result right after it, in the order of the calls.

    Args:
        messages: the conversation.

    Returns:
        The turns of user and assistant, neighbours of one role joined; whether results without a call became texts;
        whether a call was given a result that says that there is none.
    """
    turns: list[_Turn] = []
    results: dict[str, ToolResult] = {}  # by the id of the call as it is sent
    lost = added = False
    taken: set[str] = set()
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        turn = turns[-1]
        for part in message.parts:
            if isinstance(part, ToolCall):
                call = replace(part, id=_unique(plain_id(part.id), taken))
                turn.calls.append(call)
                turn.given.append(part.id)
                turn.parts.append(call)
            elif isinstance(part, ToolResult):
                name = _find(part.call_id, turns, results)
                if name is None:
                    turn.parts += _told(part)
                    lost = True
                else:
                    results[name] = replace(part, call_id=name)
            else:
                turn.parts.append(part)
    if turns and turns[-1].calls:
        turns.append(_Turn("user"))
    for before, turn in pairwise(turns):
        added = added or any(call.id not in results for call in before.calls)
        turn.parts[:0] = [
            results.get(call.id) or ToolResult(call_id=call.id, content=NO_RESULT, name=call.name, is_error=True)
            for call in before.calls
        ]
    return [(turn.role, turn.parts) for turn in turns], lost, added


def _told(result: ToolResult) -> list[Part]:
    """Write a result without a call as what the user says."""
    content = () if isinstance(result.content, str) else result.content
    attached = [part for part in content if not isinstance(part, Text)]
    return [Text(f"Result of {result.name or 'a tool'}: {result.text}"), *attached]


def _find(given: str, turns: list[_Turn], results: dict[str, ToolResult]) -> str | None:
    """Return the call that a result belongs to: of those with its id, the first without one in the last such turn."""
    for turn in reversed(turns):
        for call, name in zip(turn.calls, turn.given, strict=True):
            if name == given and call.id not in results:
                return call.id
    return None


def _unique(made: str, taken: set[str]) -> str:
    """Return an id that no call before has: the given one, where it is such."""
    base, number = made, 1
    while made in taken:
        number += 1
        made = f"{base[:56]}_{number}"
    taken.add(made)
    return made
