"""Event loops that were closed by hand leave nothing behind, and closing makes no event loop stand still."""

from __future__ import annotations

import asyncio
import gc
import importlib.abc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from understudy import LLMFactory, Policy
from understudy_sandbox import Sandbox

ONCE = Policy.patient(max_retries=0)
NAMES = ["claude", "openai", "gemini", "cohere", "ollama"]
LOOPS = 6


def _ask(factory: LLMFactory) -> None:
    """As a worker does that makes a loop of its own for each task."""
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(factory.agenerate_content("Hello", temperature=None)).success
    finally:
        loop.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("next_call", ["async", "sync", "close"])
def test_what_a_closed_loop_left_is_gone_with_the_next_call(
    name: str, lane: str, next_call: str, sandbox: Sandbox, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always", ResourceWarning)
    settings = {**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}
    with LLMFactory(name, [], settings=settings, policy=ONCE, extensions=[]) as factory:
        factory.generate_content("Hello", temperature=None)
        counts = []
        for _ in range(LOOPS):
            _ask(factory)
            counts.append(_descriptors())
        assert counts == counts[:1] * LOOPS  # one loop's at most
        if next_call == "async":
            asyncio.run(_whole(factory))
        elif next_call == "sync":
            factory.generate_content("Hello", temperature=None)
        else:
            factory.close()
        assert _descriptors() < counts[0]
    gc.collect()
    assert [str(one.message) for one in recwarn if issubclass(one.category, ResourceWarning)] == []


async def _whole(factory: LLMFactory) -> None:
    assert (await factory.agenerate_content("Hello", temperature=None)).success


class _Held(importlib.abc.MetaPathFinder):
    """Holds an import up, as a slow disk does."""

    def __init__(self, module: str) -> None:
        self.module, self.begun, self.gate = module, threading.Event(), threading.Event()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == self.module:
            self.begun.set()
            self.gate.wait(60)


MODULES = [
    *((name, "sdk", f"understudy_{name}.sdk") for name in NAMES),
    ("gemini-legacy", "sdk", "understudy_gemini_legacy.sdk"),
    ("claude", "http", "understudy_toolkit.http.on_loop"),
]


@pytest.mark.parametrize(("name", "lane", "module"), MODULES)
def test_closing_does_not_wait_for_an_import(
    name: str, lane: str, module: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    held = _Held(module)
    monkeypatch.delitem(sys.modules, held.module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [held, *sys.meta_path])
    request.addfinalizer(held.gate.set)

    async def close_meanwhile() -> None:
        settings = {**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}
        factory = LLMFactory(name, [], settings=settings, policy=ONCE, extensions=[])
        call = asyncio.create_task(_whole(factory))
        while not held.begun.is_set():
            assert not call.done(), "it was answered without the import"
            await asyncio.sleep(0.001)
        await factory.aclose()  # on the loop's own thread: that it comes back is what is tested
        assert not held.gate.is_set()
        held.gate.set()
        await call
        await factory.aclose()

    asyncio.run(close_meanwhile())


def test_a_loop_that_stands_meanwhile_is_closed_when_it_runs_again(sandbox: Sandbox) -> None:
    program = f"""
import asyncio
from understudy import LLMFactory
factory = LLMFactory("claude", [], settings={dict(sandbox.environment())!r}, extensions=[])
idle = asyncio.new_event_loop()
idle.run_until_complete(factory.agenerate_content("Hello", temperature=None))
asyncio.run(factory.aclose())
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0
    assert "never awaited" not in done.stderr
