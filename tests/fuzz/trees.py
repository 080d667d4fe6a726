"""JSON made wrong on purpose: parsed to trees, changed here and there, and written as no JSON writer would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as some

DEEP = 50_000
LONG = 20_000


class Raw(str):
    """What is written as it stands, where a value should be."""


class Pairs(list):
    """An object as the pairs in it: one name may be there twice."""


RAW = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 5_000, "-1", "1.5", "0.0", "1e3", "true", "null"),
    *('"\\ud800"', '"\\udfff text \\ud83d"', '"\\u0000"', "{}", "[]", '""', '" "', "", ",", "nul", "[" * 20, '"'),
    *("[" * 300 + "]" * 300, '{"a":' * 80 + "1" + "}" * 80, '{"a":' * 900 + "1" + "}" * 900),
    *("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "99999999999999999999", "2147483648", "'text'"),
)
TEXTS = (
    *("", " ", "\n", "error", "null", "stop", "text", "tool_use", "function", "thinking", "STOP", "[DONE]", "0"),
    *("\ufeff", "\u2028", "\x00", "\u202e", "e\u0301", "\U0001f600", "<think>", "</think>", "```json\n{}\n```", "{}"),
    *("https://user:password@host/", "1" * 5_000, "text " * 1_000, "\u0663" * 30, "2026-13-45", "-1", "1e999"),
    *("data:image/png;base64,AAAA", "data:;base64,%%%", "Retry in 99999999999999999999s", "maximum is 0", "((((" * 50),
    *("max_tokens: 1 > " + "9" * 5_000 + ", which is the maximum allowed number of output tokens",),
)
NAMES = (*("error", "type", "message", "code", "content", "text", "choices", "usage", "delta", "parts", "a", ""),)


def parse(text: bytes | str) -> Any:
    """Return a tree; the pairs of an object in a list of their own.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=Pairs)
    except RecursionError:
        raise ValueError("too deep") from None


def write(tree: Any) -> str:
    """Return a tree as text."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Pairs):
        return "{" + ", ".join(f"{json.dumps(name)}: {write(value)}" for name, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(write, tree)) + "]"
    return json.dumps(tree)


def places(tree: Any) -> Iterator[tuple[list[Any], int]]:
    """Yield where each value stands: what holds it, and at which position."""
    if isinstance(tree, list):
        for position, inner in enumerate(tree):
            yield tree, position
            yield from places(inner[1] if isinstance(tree, Pairs) else inner)


def value_at(holder: list[Any], position: int) -> Any:
    """Return a value that stands at a place."""
    return holder[position][1] if isinstance(holder, Pairs) else holder[position]


def put(holder: list[Any], position: int, value: Any) -> None:
    """Put another value at a place."""
    holder[position] = (holder[position][0], value) if isinstance(holder, Pairs) else value


def spoil(draw: Callable[[Any], Any], tree: Any, others: Sequence[Any], most: int = 3) -> Any:
    """Change a tree in a few places.

    Args:
        draw: of a composite strategy.
        tree: is changed itself.
        others: trees of the same kind, from which parts are taken.
        most: at how many places.
    """
    tree = [tree]
    for _ in range(draw(some.integers(1, most))):
        found = list(places(tree))
        holder, position = found[draw(some.integers(0, len(found) - 1))]
        change = draw(some.sampled_from(CHANGES))
        change(draw, holder, position, others)
        if not tree:
            return None
    return tree[0] if len(tree) == 1 else tree


def _drop(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    if len(holder) > 1 or isinstance(holder, Pairs):
        del holder[position]


def _null(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    put(holder, position, None)


def _raw(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    put(holder, position, Raw(draw(some.sampled_from(RAW))))


def _text(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    put(holder, position, draw(some.sampled_from(TEXTS) | some.text(max_size=8)))


def _number(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    put(holder, position, draw(some.integers() | some.floats(allow_nan=False, allow_infinity=False)))


def _rename(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    if isinstance(holder, Pairs):
        holder[position] = (draw(some.sampled_from(NAMES)), holder[position][1])


def _twice(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    if isinstance(holder, Pairs):
        value = Raw(draw(some.sampled_from(RAW[:24])))
        holder.insert(draw(some.integers(0, len(holder))), (holder[position][0], value))
    else:
        holder.append(holder[position])


def _wrap(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    value = value_at(holder, position)
    wrapped = [value] if draw(some.booleans()) else Pairs([(draw(some.sampled_from(NAMES)), value)])
    put(holder, position, wrapped)


def _unwrap(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    value = value_at(holder, position)
    if isinstance(value, list) and value:
        put(holder, position, value_at(value, 0))


def _many(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    value = value_at(holder, position)
    put(holder, position, [value] * draw(some.sampled_from((2, 3, 500))))


def _as_text(draw: Any, holder: list[Any], position: int, others: Any) -> None:
    value = value_at(holder, position)
    if not isinstance(value, Raw):
        put(holder, position, write(value))


def _graft(draw: Any, holder: list[Any], position: int, others: Sequence[Any]) -> None:
    if others:
        found = list(places([draw(some.sampled_from(others))]))
        put(holder, position, deepcopy(value_at(*found[draw(some.integers(0, len(found) - 1))])))


def _add(draw: Any, holder: list[Any], position: int, others: Sequence[Any]) -> None:
    if isinstance(holder, Pairs):
        holder.append((draw(some.sampled_from(NAMES)), Raw(draw(some.sampled_from(RAW[:24])))))


CHANGES = (_drop, _null, _raw, _raw, _text, _text, _number, _rename, _twice, _wrap, _unwrap, _many, _as_text, _graft)
CHANGES += (_add,)
