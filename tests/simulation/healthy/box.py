"""A machine of one's own: a model that is loaded before it answers, two at a time, and put out of memory when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from simulation.world import VirtualLoop

# https://wiki.linux-server-admin.com/web-apps/genai/ollama/configuration, read 2026-11-30, says what Ollama does
KEPT = 300.0  # seconds in memory after the last answer: OLLAMA_KEEP_ALIVE, 5 minutes by default
SLOTS = 2  # answers at a time: OLLAMA_NUM_PARALLEL, 1 by default

# Seconds to load a model, anything between on a logarithmic scale. Measured: 7 s from the cache of the file system and
# 78 to 270 s from the disk (27B), 104 s (4B, a small cloud machine), 45 s (a home server).
# https://github.com/msramanujam/maya/issues/31, https://github.com/LikeLionTeam4/slash-infra/issues/41,
# https://github.com/home-assistant/core/issues/135952, all read 2026-11-30
QUICKEST, SLOWEST = 5.0, 120.0


class Box:
    """A machine with one model.

    Args:
        loop: the clock.
        seed: of the day.
    """

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self._loop = loop
        self._seed = seed
        self._slots = asyncio.Semaphore(SLOTS)
        self._busy = 0
        self._kept_until = 0.0
        self._loaded_at: float | None = None  # when the loading under way will be done
        self._waiting = 0  # for that

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._busy > 0 or self._loop.now < self._kept_until

    @asynccontextmanager
    async def place(self, call: int) -> AsyncIterator[None]:
        """Wait until the model is in memory and has a slot free, and keep the slot."""
        while not self.is_loaded:
            await self._load(call)
        async with self._slots:
            while not self.is_loaded:  # all who were before it have left, and long ago
                await self._load(call)
            self._busy += 1
            try:
                yield
            finally:
                self._busy -= 1
                self._kept_until = self._loop.now + KEPT

    async def _load(self, call: int) -> None:
        if self._loaded_at is None:
            span = Random(f"{self._seed} load {call}").random()
            self._loaded_at = self._loop.now + QUICKEST * (SLOWEST / QUICKEST) ** span
        self._waiting += 1
        try:
            await asyncio.sleep(self._loaded_at - self._loop.now)
            self._kept_until = self._loop.now + KEPT
        finally:
            self._waiting -= 1
            # When nobody waits any more, Ollama gives the loading up, and it begins anew for the next one.
            # https://github.com/rsynnot/magic-lists-for-navidrome/issues/34, read 2026-11-30
            if not self._waiting:
                self._loaded_at = None
