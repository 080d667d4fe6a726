"""The stage for tests with real SDKs and stand-ins for their vendors; `staging` is importable from everywhere here."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from understudy import LLMFactory, Settings

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("staging")

MODELS = {  # each goes on from a begun answer, where its vendor has such models
    "CLAUDE_MODEL": "claude-haiku-4-5",
    "GEMINI_MODEL": "gemini-2.5-flash-lite",
    "GEMINI_LEGACY_MODEL": "gemini-2.5-flash-lite",
    "OLLAMA_MODEL": "llama3.2",
}
USER = {  # of Google Cloud, with a token that is good for long: nobody is asked for another
    "type": "authorized_user",
    "client_id": "nobody",
    "client_secret": "none",
    "refresh_token": "none",
    "token": "token-of-the-stand-in",
    "expiry": "2999-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="module")
def everybody(_understudy_sandbox, loop, tmp_path_factory):
    """Every provider that has a stand-in, found by entry point, made once: SDK clients are costly."""
    user = tmp_path_factory.mktemp("user") / "user.json"
    user.write_text(json.dumps(USER), "utf-8")
    vertex = {"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(user)}
    settings = Settings(environment={**_understudy_sandbox.environment(), **MODELS, **vertex})
    first, *others = *_understudy_sandbox.vendors, "gemini-legacy", "vertex", "echo"
    factory = LLMFactory(first, others, settings=settings, extensions=[])
    providers = {target.label: provider for target, provider in factory.route}
    yield providers, settings
    loop.run_until_complete(factory.aclose())


@pytest.fixture
def stage(sandbox, everybody, loop):
    from staging import Stage  # pytest's assertions are written into it only after this module was imported

    return Stage(sandbox, *everybody, loop)
