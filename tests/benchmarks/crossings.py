"""How often one plain call goes from one module of the core into another: `python tests/benchmarks/crossings.py`.

The second call of a factory is counted, with a provider that answers at once: what is imported once is imported then.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

from understudy import Capabilities, ChatProvider, FinishReason, LLMFactory, LLMResponse, Request

LEASES = ("leases", "holdings")  # the door into health, and what it was called before


class Own(ChatProvider):
    """Answers at once."""

    capabilities = Capabilities(keeps_deadline=True)
    default_model = "own"

    def get_provider_name(self) -> str:
        """Return its name."""
        return "own"

    def generate(self, request: Request) -> LLMResponse:
        """Answer."""
        return LLMResponse(True, "Hi.", "own", None, finish_reason=FinishReason.STOP)


def count() -> Counter[tuple[str, str]]:
    """Return how often which module of the core calls into which other one."""
    crossings: Counter[tuple[str, str]] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_back is not None:
            caller, called = (str(each.f_globals.get("__name__", "")) for each in (frame.f_back, frame))
            if caller != called and caller.startswith("understudy.") and called.startswith("understudy."):
                crossings[caller.removeprefix("understudy."), called.removeprefix("understudy.")] += 1

    with LLMFactory(Own(), [], settings={}, extensions=[]) as factory:
        factory.generate_content("Hello")
        sys.setprofile(note)
        try:
            factory.generate_content("Hello")
        finally:
            sys.setprofile(None)
    return crossings


if __name__ == "__main__":
    crossings = count()
    for (caller, called), times in sorted(crossings.items()):
        print(f"{times:4}  {caller} -> {called}")
    door = sum(times for (_, called), times in crossings.items() if called.rpartition(".")[2] in LEASES)
    print(f"{crossings.total():4}  in all, {door} of them through the door into health")
