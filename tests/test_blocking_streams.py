"""A blocking stream ends when its next piece is late, whatever time the client below has for each read."""

import time

import pytest

from understudy import LLMFactory, Message, Request
from understudy.concurrency.out_of_time import next_by
from understudy.errors import Timeout
from understudy_sandbox import Sandbox, faults

LANES = [(name, lane) for name in ("claude", "openai", "gemini", "cohere", "ollama") for lane in ("sdk", "http")]


@pytest.mark.parametrize(("name", "lane"), [*LANES, ("gemini-legacy", "sdk")])
def test_a_late_piece_ends_the_stream_long_before_the_timeout_of_a_read(name: str, lane: str) -> None:
    """Without the clock the connection would drop after ten seconds, which is another failure."""
    with Sandbox() as sandbox:
        settings = {**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}
        [(_, provider)] = LLMFactory(name, [], settings=settings).route
        getattr(sandbox, name.removesuffix("-legacy")).next(faults.stall(after=1, seconds=10))
        events = iter(provider.stream(Request(messages=(Message.user("Hello"),), timeout=60.0)))
        next(events)
        token = next_by.set(time.monotonic() + 0.1)
        try:
            with pytest.raises(Timeout):
                for _ in events:
                    pass
        finally:
            next_by.reset(token)
            provider.close()
