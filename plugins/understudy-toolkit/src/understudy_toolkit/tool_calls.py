"""Tool calls: ids for those without one, or with one that was given before; arguments that can be sent again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from typing import Any

from understudy.messages import Request, ToolCall

__all__ = ["CallNames", "checked_arguments", "new_seed"]

_MOST_LEVELS = 100  # of arguments: far more than tools have, and few enough for every writer of JSON

_SECRET = secrets.token_bytes(32)  # of this process: conversations are kept longer than a process lives, and joined


def new_seed() -> str:
    """Return a prefix that no other ids have."""
    return secrets.token_hex(8)


def checked_arguments(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a tool call as they are, if the next turn can send them again.

    Raises:
        ValueError: they hold a number that JSON does not have, or are nested too deep.
    """
    level: list[Any] = [arguments]
    for _ in range(_MOST_LEVELS):
        values = [value for one in level for value in (one.values() if isinstance(one, Mapping) else one)]
        if any(isinstance(value, float) and not isfinite(value) for value in values):
            raise ValueError("JSON has no such number")
        level = [value for value in values if isinstance(value, Mapping | list)]
        if not level:
            return arguments
    raise ValueError("nested too deep")


class CallNames:
    """Gives each tool call of an answer an id of its own: in the conversation, and in any that it is joined with.

    The ids have at most 40 letters, digits, dashes and underscores, which every vendor takes back.

    Args:
        request: what was asked.
        seed: what the ids begin with: of `new_seed`. By default the same for the same request, wherever it is asked
            for in this process, so that a stream's pieces and its whole answer have the same ids.
    """

    def __init__(self, request: Request, seed: str | None = None) -> None:
        calls = [part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
        self._request, self._seed = request, _seed_of(request, calls) if seed is None else seed
        self._taken = set(calls)
        self._number = 0

    def again(self) -> CallNames:
        """Return an object that gives the same ids again, to the same calls."""
        return CallNames(self._request, self._seed)

    def __call__(self, given: Any, name: str = "") -> str:
        """Return the id of a call: its own where no other call has it, or a new one.

        Args:
            given: its own, where it has one.
            name: the tool's name, which is not part of the id: it may be longer than an id may be.
        """
        made = given if isinstance(given, str) else "" if given is None else str(given)
        while not made or made in self._taken:
            made = f"call_{self._seed}_{self._number}"
            self._number += 1
        self._taken.add(made)
        return made


def _seed_of(request: Request, calls: list[str]) -> str:
    texts = [str(id(request)), *calls, *(message.text for message in request.messages)]
    data = "\0".join(texts).encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=8, key=_SECRET).hexdigest()
