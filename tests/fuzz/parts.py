"""The parts that can be played: how examples are made, and what is held of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as some

from fuzz import arguments, files, replies, sockets
from fuzz.lane import Sent

HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Part:
    """One part.

    Args:
        name: as it is asked for.
        examples: makes the strategy.
        check: raises AssertionError where something is not held.
        cost: how many times longer an example takes than others.
    """

    name: str
    examples: Callable[[], some.SearchStrategy[Any]]
    check: Callable[[Any], None]
    cost: int = 1

    def key_of(self, example: Any, error: BaseException) -> str:
        """Return what tells a fault from others: who is asked, what is raised, and where."""
        while error.__cause__ is not None:
            error = error.__cause__
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f"{Path(one.filename).name}:{one.name}:{one.lineno}" for one in reversed(frames)), "")
        who = example[0] if isinstance(example, tuple) and isinstance(example[0], str) else ""
        return f"{who} {type(error).__name__} at {place}: {' '.join(str(error).split())[:60]}"

    def shown(self, example: Any) -> str:
        """Return an example in few words."""
        parts = example if isinstance(example, tuple) else (example,)
        return "\n  ".join(replies.shown(part) if isinstance(part, Sent) else repr(part)[:2000] for part in parts)


def check_one(part: Part, example: Any) -> BaseException | None:
    """Return what is not held of an example."""
    try:
        part.check(example)
    except Exception as error:
        return error
    return None


PARTS = {
    part.name: part
    for part in (
        Part("replies", replies.whole_replies, replies.check_whole),
        Part("streams", replies.stream_replies, replies.check_stream),
        Part("cut", replies.cut_streams, replies.check_cut),
        Part("rewritten", replies.rewritten_streams, replies.check_rewritten),
        Part("sockets", sockets.replies, sockets.check_socket, cost=5),
        Part("files", files.files, files.check_file),
        Part("routes", files.routes, files.check_route),
        Part("arguments", arguments.calls, arguments.check_call),
        Part("large", replies.large_replies, replies.check_large, cost=20),
    )
}
