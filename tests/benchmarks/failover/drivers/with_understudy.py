"""Understudy: the provider `openai` under two names of one's own, with a preset of the policy."""

import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from _driver import Failed, Finish, Restart, Setting, drive

import understudy
from understudy import LLMFactory, Policy, TextDelta

NAMES = """
[providers.primary]
uses = "openai"
base_url = "{primary}/v1"
api_key_env = ""
model = "model-under-test"

[providers.backup]
uses = "openai"
base_url = "{backup}/v1"
api_key_env = ""
model = "model-under-test"
"""


class Understudy:
    """A preset, with the timeouts of this benchmark and what the variant changes."""

    recovers = True

    def __init__(self, setting: Setting) -> None:
        changes: dict[str, Any] = dict.fromkeys(
            ("attempt_timeout", "first_token_timeout", "idle_timeout"), setting.timeout
        )
        changes |= setting.options
        if setting.open_for is not None:
            changes["breaker_open"] = setting.open_for
        if setting.recover:
            changes["stream_recovery"] = "restart"
        policy = Policy.named(setting.variant.partition(" ")[0])
        policy = replace(policy, **changes)
        self.opens_for: float | None = policy.breaker_open * (1 + policy.breaker_jitter)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "understudy.toml").write_text(
                NAMES.format(primary=setting.primary, backup=setting.backup), "utf-8"
            )
            os.chdir(folder)  # where the file is looked for
            self.factory = LLMFactory("primary", ["backup"], policy=policy)
            os.chdir("/")

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        return _text(await self.factory.agenerate_content(prompt))

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        async for event in self.factory.astream_content(prompt):
            if isinstance(event, TextDelta):
                yield event.text
            elif isinstance(event, understudy.Restart):
                yield Restart()
            elif isinstance(event, understudy.Finish):
                _text(event.response)
                yield Finish(event.response.finish_reason)

    async def close(self) -> None:
        """Close the connections."""
        await self.factory.aclose()


def _text(response: understudy.LLMResponse) -> str:
    if not response.success:
        raise Failed(type(response.failure).__name__, response.error or "")
    return response.content


if __name__ == "__main__":
    drive(Understudy, "understudy", "understudy-openai", "openai")
