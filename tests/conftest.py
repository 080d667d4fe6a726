"""The stage for tests with real SDKs and stand-ins for their vendors; `staging` is importable from everywhere here."""

import asyncio
import sys
from pathlib import Path

import pytest

from understudy import LLMFactory, Settings

sys.path.insert(0, str(Path(__file__).parent))

MODELS = {  # each goes on from a begun answer, where its vendor has such models
    "CLAUDE_MODEL": "claude-haiku-4-5",
    "GEMINI_MODEL": "gemini-2.5-flash-lite",
    "OLLAMA_MODEL": "llama3.2",
}


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(scope="module")
def everybody(_understudy_sandbox, loop):
    """Every provider that has a stand-in, found by entry point, made once: SDK clients are costly."""
    settings = Settings(environment={**_understudy_sandbox.environment(), **MODELS})
    first, *others = *_understudy_sandbox.vendors, "echo"
    factory = LLMFactory(first, others, settings=settings, extensions=[])
    providers = {target.label: provider for target, provider in factory.route}
    yield providers, settings
    loop.run_until_complete(factory.aclose())


@pytest.fixture
def stage(sandbox, everybody, loop):
    from staging import Stage  # pytest's assertions are written into it only after this module was imported

    return Stage(sandbox, *everybody, loop)
