"""Assembles tool calls from the pieces of a stream, whatever identifies each piece.

OpenAI gives every call an index, and its id and name once. Compatible servers give several calls one index, a call an
index or an id for every piece, no id, or no index at all, and some tell a whole call once more at the end. Read
2026-11-30: mudler/LocalAI#9722, BerriAI/litellm#20480, lidge-jun/opencodex#361, langchain4j/langchain4j#4544. Gemini's
models behind some of them tell a name in pieces, which only the names of the tools tell from two calls:
continuedev/continue#5849, read 2026-12-01.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy import ToolCallDelta
from understudy_openai.shared import Json

CALL_FIELDS = ("id", "type", "index", "function")


@dataclass(slots=True)
class _Call:
    """A call that is being put together."""

    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    own: Json = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)  # all that its pieces came under

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class CallPieces:
    """Assembles a stream's tool calls.

    Args:
        names: gives ids to calls that come without one, or with one that was there before.
        tools: the names of the tools that may be called.
    """

    def __init__(self, names: Callable[[Any, str], str], tools: Collection[str] = ()) -> None:
        self._names, self._tools = names, tools
        self._calls: list[_Call] = []
        self._at: dict[str, int] = {}  # by index

    def feed(self, piece: Any) -> Iterator[ToolCallDelta]:
        """Take the next piece, and yield what it brings.

        Raises:
            TypeError: it is not a piece of a call.
        """
        if not isinstance(piece, Mapping):
            raise TypeError(f"expected a piece of a tool call, found {type(piece).__name__}")
        function = piece.get("function") or {}
        if not isinstance(function, Mapping) or ("function" not in piece and piece.get("type") == "custom"):
            return  # a custom tool of the options'
        name, arguments = function.get("name") or "", function.get("arguments")
        told = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        known, before = len(self._calls), ""
        position = self._position(piece, str(name), told)
        call = self._calls[position]
        if call.arguments and told and _whole(call.arguments) and _same(call.arguments, told):
            told = ""  # the whole call once more
        if call.name and name and name != call.name:
            before, call.name = call.name, call.name + str(name)
        call.name = call.name or str(name)
        if told:
            call.pieces.append(told)
        call.own |= {name: value for name, value in piece.items() if name not in CALL_FIELDS and value is not None}
        if told or ((before or len(self._calls) > known) and not self._begins_a_name(call.name)):
            yield ToolCallDelta(position, call.id, call.name, told)

    @property
    def calls(self) -> list[Json]:
        """The calls, as a whole reply has them; without those of which nothing came but that they begin."""
        made = ((call, {"name": call.name, "arguments": _repaired(call)}) for call in self._calls)
        return [{**call.own, "id": call.id, "function": told} for call, told in made if call.name or call.pieces]

    def _position(self, piece: Mapping[str, Any], name: str, told: str) -> int:
        """Return which call a piece belongs to."""
        index, call_id = piece.get("index"), str(piece.get("id") or "")
        key = str(index) if isinstance(index, int | str) else ""
        of_index = self._at.get(key) if key else len(self._calls) - 1 if self._calls else None
        of_id = next((at for at, call in enumerate(self._calls) if call_id in call.ids), None) if call_id else None
        position = of_id if of_id is not None else of_index
        if position is None and key and not name and not call_id and self._calls:
            position = len(self._calls) - 1  # an index for every piece
        fresh = bool(key) and key not in self._at
        if position is None or self._begins_another(position, name, call_id, told, fresh=fresh):
            position = len(self._calls)
            self._calls.append(_Call(self._names(call_id, name)))
        self._at[key] = position
        if call_id:
            self._calls[position].ids.add(call_id)
        return position

    def _begins_another(self, position: int, name: str, call_id: str, told: str, *, fresh: bool) -> bool:
        """Return whether a piece is the first of another call, although its index or id is that of a known one."""
        call = self._calls[position]
        if not name or not (call.name or call.pieces):
            return False  # goes on, under whatever new id
        if call.name and name != call.name:
            known = not call_id or call_id in call.ids
            return not (
                known and not call.pieces and self._begins_a_name(call.name) and self._goes_on(call.name + name)
            )
        if call_id in call.ids:  # the same call, or the same id for another one
            other = _whole(told) and not _same(call.arguments, told) if told else fresh
            return _whole(call.arguments) and other
        if not call.arguments:
            return bool(call_id)
        return _whole(call.arguments)

    def _begins_a_name(self, name: str) -> bool:
        """Return whether a name is but the beginning of a tool's."""
        return bool(name) and name not in self._tools and self._goes_on(name)

    def _goes_on(self, name: str) -> bool:
        return any(tool.startswith(name) for tool in self._tools)


def _whole(arguments: str) -> bool:
    """Return whether arguments are complete, an object in JSON."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(arguments, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def _same(arguments: str, others: str) -> bool:
    """Return whether two arguments say the same; the others may be JSON within a JSON text."""
    try:
        first, second = json.loads(arguments, strict=False), json.loads(others, strict=False)
        return bool(first == (json.loads(second, strict=False) if isinstance(second, str) else second))
    except (ValueError, RecursionError):
        return False


def _repaired(call: _Call) -> str:
    """Return a call's arguments; of pieces that each repeat what came before, or an empty object, the last ones."""
    arguments = call.arguments
    if len(call.pieces) < 2 or _whole(arguments):
        return arguments
    others = (call.pieces[-1], "".join(call.pieces[1:]) if call.pieces[0].strip() == "{}" else "")
    return next((told for told in others if _whole(told)), arguments)
