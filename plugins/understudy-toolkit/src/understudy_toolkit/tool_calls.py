"""Ids for tool calls that come without one."""

from __future__ import annotations

from typing import Any

from understudy.messages import Request, ToolCall

__all__ = ["CallNames"]


class CallNames:
    """Gives ids to the tool calls that came without one, each unique in the conversation.

    Args:
        request: what was asked.
    """

    def __init__(self, request: Request) -> None:
        calls = [part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
        self._taken = set(calls)
        self._number = len(calls)

    def __call__(self, given: Any, name: str) -> str:
        """Return the id of a call: its own, or a new one.

        Args:
            given: its own, where it has one.
            name: the tool's name.
        """
        made = str(given) if given else ""
        while not made or (not given and made in self._taken):
            made = f"call_{self._number}_{name}"
            self._number += 1
        self._taken.add(made)
        return made
