"""Matches tool calls with their results: each call gets an id of its own, and one result right after its turn.

Conversations come from other vendors too, whose ids may repeat, be empty, or hold what this API refuses, and which take
results in several messages, in any order, or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from understudy import Message, Part, Text, ToolCall, ToolResult

# An id matches ^[a-zA-Z0-9_-]+$ (maximhq/bifrost#5097) and is unique in the conversation (trycua/cua#524); Amazon's
# Bedrock, which takes the same messages, allows 64 characters:
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolUseBlock.html. Read 2026-11-30.
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_ID = 64

NO_RESULT = "There is not a result of this call."
NO_CALL = "results of tools that were not called were sent as text: Claude accepts a result only right after its call"
ADDED = "a call without a result got one that says so: Claude accepts no call without a result"


@dataclass(slots=True)
class _Turn:
    role: str
    parts: list[Part] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    given: list[str] = field(default_factory=list)  # the ids of its calls as they were given


def paired(messages: Iterable[Message]) -> tuple[list[tuple[str, list[Part]]], list[str]]:
    """Return a conversation's turns of user and assistant, neighbours of one role joined, and what was changed.

    Args:
        messages: the conversation.
    """
    turns: list[_Turn] = []
    results: dict[str, ToolResult] = {}  # by the id of the call as it is sent
    changed: list[str] = []
    taken: set[str] = set()
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        turn = turns[-1]
        for part in message.parts:
            if isinstance(part, ToolCall):
                call = replace(part, id=_identifier(part.id, taken))
                turn.calls.append(call)
                turn.given.append(part.id)
                turn.parts.append(call)
            elif isinstance(part, ToolResult):
                name = _find(part.call_id, turns, results)
                if name is None:
                    turn.parts.append(Text(f"Result of {part.name or 'a tool'}: {part.text}"))
                    changed.append(NO_CALL)
                else:
                    results[name] = replace(part, call_id=name)
            else:
                turn.parts.append(part)
    if turns and turns[-1].calls:
        turns.append(_Turn("user"))
    for before, turn in pairwise(turns):
        if any(call.id not in results for call in before.calls):
            changed.append(ADDED)
        found = (
            results.get(call.id) or ToolResult(call_id=call.id, content=NO_RESULT, name=call.name, is_error=True)
            for call in before.calls
        )
        turn.parts[:0] = found
    return [(turn.role, turn.parts) for turn in turns], changed


def _find(given: str, turns: list[_Turn], results: dict[str, ToolResult]) -> str | None:
    """Return the call that a result belongs to: of those with its id, the first without one in the last such turn."""
    for turn in reversed(turns):
        for call, name in zip(turn.calls, turn.given, strict=True):
            if name == given and call.id not in results:
                return call.id
    return None


def _identifier(given: str, taken: set[str]) -> str:
    """Return an id that the API accepts and that no earlier call has: the given one, if it is one."""
    made = _NOT_IN_AN_ID.sub("_", given) or "call"
    if len(made) > _LONGEST_ID:
        made = f"{made[:48]}_{hashlib.sha256(given.encode('utf-8', 'replace')).hexdigest()[:12]}"
    base, number = made, 1
    while made in taken:
        number += 1
        made = f"{base[:56]}_{number}"
    taken.add(made)
    return made
