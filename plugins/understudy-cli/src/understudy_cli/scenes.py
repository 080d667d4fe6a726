"""The scenes of `understudy demo`: what the stand-ins will do, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing that happens to a call.

    Args:
        number: its place in the demo, from 1.
        title: what it is called.
        story: what happens, in a sentence or two.
        prompt: what is asked.
        options: the call's arguments besides the prompt.
        spoil: tells the stand-ins what to do.
        faults: the same, in words, by provider.
        streamed: whether the answer is asked for as a stream.
    """

    number: int
    title: str
    story: str
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False

    def prepare(self, sandbox: Sandbox) -> None:
        """Tell the stand-ins what to do; what they were told before is forgotten."""
        from understudy_sandbox import faults

        sandbox.reset()
        for name, fault in self.faults.items():
            sandbox[name].always(faults.parse(fault))

    @property
    def call(self) -> str:
        """The call as a program would write it."""
        method = "stream_content" if self.streamed else "generate_content"
        arguments = [repr(self.prompt), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"factory.{method}({', '.join(arguments)})"


SCENES = (
    Scene(
        1,
        "All is well",
        "Gemini is the primary, and answers. Claude, its understudy, is not needed.",
        "Why is the sky blue?",
    ),
    Scene(
        2,
        "A quota error",
        "Gemini answers 429. Waiting would not help this call, so Claude takes over at once.",
        "Why is the sky blue?",
        faults={"gemini": "rate_limited retry_after=30"},
    ),
    Scene(
        3,
        "No answer in time",
        "Gemini takes the request and stays silent. That may pass, so it is asked again after 0.5 s, then after 1 s, "
        "before Claude takes over. (Short for the demo: unless told otherwise the first wait is 5 s, each further "
        "one twice as long, up to 60 s, and there are 5 retries.)",
        "Why is the sky blue?",
        options={"timeout": 0.4, "max_retries": 2, "retry_delay": 0.5},
        faults={"gemini": "black_hole"},
    ),
    Scene(
        4,
        "A stream breaks before its first word",
        "Gemini accepts, and the connection breaks before a word has come. Nobody has seen anything yet, so Claude "
        "streams the answer instead, and the reader does not notice.",
        "Why is the sky blue?",
        options={"max_retries": 0},
        faults={"gemini": "cut after=0"},
        streamed=True,
    ),
    Scene(
        5,
        "Everything is down",
        "Gemini refuses connections and Claude is overloaded. There is no exception: the response says that it failed, "
        "and why.",
        "Why is the sky blue?",
        options={"max_retries": 1, "retry_delay": 0.2},
        faults={"gemini": "refuse", "claude": "overloaded"},
    ),
)
