"""Thinking that a server leaves in the text: a block in tags at the beginning of an answer.

Servers send it so where nothing on their side takes a model's output apart. Read 2026-11-30: <think> of DeepSeek, Qwen
and MiniMax (https://docs.vllm.ai/en/latest/features/reasoning_outputs.html), <thought> of Google's compatible endpoint
(https://ai.google.dev/gemini-api/docs/openai), <seed:think> of Seed-OSS, [THINK] of Magistral, and Kimi's signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

TAGS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)


class Piece(NamedTuple):
    """A piece of an answer.

    Args:
        thinking: whether it is thinking.
        text: what it says.
    """

    thinking: bool
    text: str


class ThinkFilter:
    """Takes an answer's text piece by piece, and separates the thinking at its beginning from the rest.

    Args:
        off: whether everything is text: of OpenAI's own models.
    """

    def __init__(self, *, off: bool = False) -> None:
        self._state: Literal["begin", "thinking", "after", "text"] = "text" if off else "begin"
        self._held = ""
        self._thought = False  # whether some of a thought has been told
        self.tags: tuple[str, str] | None = None

    def feed(self, text: str) -> Iterator[Piece]:
        """Take the next piece of text, and yield what is certain."""
        self._held += text
        if self._state == "begin":
            self._begin()
        if self._state == "thinking":
            yield from self._think()
        if self._state == "after":
            self._held = self._held.lstrip()
            self._state = "text" if self._held else "after"
        if self._state == "text" and self._held:
            yield Piece(False, self._held)
            self._held = ""

    def end(self) -> Iterator[Piece]:
        """Yield what was held back, at the end of the answer."""
        held = self._held.rstrip() if self._state == "thinking" else self._held
        if held:
            yield Piece(self._state == "thinking", held)
        self._held, self._state = "", "text"

    def _begin(self) -> None:
        start = self._held.lstrip()
        for tags in TAGS:
            if start.startswith(tags[0]):
                self.tags, self._state, self._held = tags, "thinking", start[len(tags[0]) :]
                return
        if not any(opening.startswith(start) for opening, _ in TAGS):
            self._state = "text"

    def _think(self) -> Iterator[Piece]:
        assert self.tags is not None
        closing = self.tags[1]
        thought, closed, rest = self._held.partition(closing)
        if not self._thought:
            thought = thought.lstrip()
        ends = range(min(len(closing) - 1, len(thought)), 0, -1)
        begun = 0 if closed else next((size for size in ends if closing.startswith(thought[-size:])), 0)
        told = thought[: len(thought) - begun].rstrip()
        if closed:
            self._state, self._held = "after", rest
        else:
            self._held = thought[len(told) :]  # white space at its end is not part of the thought
        if told:
            self._thought = True
            yield Piece(True, told)


def split(text: str, *, off: bool = False) -> tuple[str, str, tuple[str, str] | None]:
    """Return the thinking at the beginning of a whole answer, the rest, and the tags; the block may begin untagged.

    A template may hold the opening tag, so that the answer has the closing one alone, on a line of its own.
    """
    reader = ThinkFilter(off=off)
    pieces = [*reader.feed(text), *reader.end()]
    if reader.tags is None and not off:
        opening, closing = TAGS[0]
        thought, closed, rest = text.partition(f"\n{closing}\n")
        if closed and opening not in text and closing not in rest:
            return thought.strip(), rest.lstrip(), TAGS[0]
    thought = "".join(piece.text for piece in pieces if piece.thinking)
    return thought, "".join(piece.text for piece in pieces if not piece.thinking), reader.tags
