"""Sleeping, with the switch that `understudy.testing` turns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Waiting:
    """Whether waits really wait, and which ones were skipped while they did not."""

    enabled: bool = True
    skipped: list[float] = field(default_factory=list)


waiting = Waiting()


def sleep(seconds: float) -> None:
    """Sleep, unless waiting is switched off."""
    if waiting.enabled:
        time.sleep(seconds)
    else:
        waiting.skipped.append(seconds)


async def async_sleep(seconds: float) -> None:
    """Sleep on the running event loop, unless waiting is switched off."""
    import asyncio

    if waiting.enabled:
        await asyncio.sleep(seconds)
    else:
        waiting.skipped.append(seconds)
        await asyncio.sleep(0)  # other tasks get their turn, as they would in a real wait
