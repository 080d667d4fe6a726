"""Understudy: the provider `openai` under two names of one's own, with a preset of the policy."""

import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from _driver import BACKUP_MODEL, PRIMARY_MODEL, Failed, Finish, Restart, Setting, Whole, drive

import understudy
from understudy import LLMFactory, Policy, TextDelta

NAMES = """
[providers.primary]
uses = "openai"
base_url = "{primary}/v1"
api_key_env = ""
model = "{primary_model}"

[providers.backup]
uses = "openai"
base_url = "{backup}/v1"
api_key_env = ""
model = "{backup_model}"
"""


class Understudy:
    """A preset, with the timeouts of this benchmark and what the variant changes."""

    recovers = True

    def __init__(self, setting: Setting) -> None:
        changes: dict[str, Any] = {}
        if setting.timeout is not None:
            timeouts = ("attempt_timeout", "first_token_timeout", "idle_timeout")
            changes = dict.fromkeys(timeouts, setting.timeout)
        changes |= setting.options
        self.options: dict[str, Any] = {} if setting.max_tokens is None else {"max_tokens": setting.max_tokens}
        if setting.open_for is not None:
            changes["breaker_open"] = setting.open_for
        if setting.recover:
            changes["stream_recovery"] = "restart"
        policy = Policy.named(setting.variant.partition(" ")[0])
        policy = replace(policy, **changes)
        self.opens_for: float | None = policy.breaker_open * (1 + policy.breaker_jitter)
        with tempfile.TemporaryDirectory() as folder:
            addresses = {"primary": setting.primary, "backup": setting.backup}
            names = NAMES.format(**addresses, primary_model=PRIMARY_MODEL, backup_model=BACKUP_MODEL)
            Path(folder, "understudy.toml").write_text(names, "utf-8")
            os.chdir(folder)  # where the file is looked for
            self.factory = LLMFactory("primary", ["backup"], policy=policy)
            os.chdir("/")

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        response = await self.factory.agenerate_content(prompt, **self.options)
        return Whole(_text(response), response.model, response.usage)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        async for event in self.factory.astream_content(prompt, **self.options):
            if isinstance(event, TextDelta):
                yield event.text
            elif isinstance(event, understudy.Restart):
                yield Restart()
            elif isinstance(event, understudy.Finish):
                _text(event.response)
                yield Finish(event.response.finish_reason, event.response.model, event.response.usage)

    async def close(self) -> None:
        """Close the connections."""
        await self.factory.aclose()


def _text(response: understudy.LLMResponse) -> str:
    if not response.success:
        raise Failed(type(response.failure).__name__, response.error or "")
    return response.content


if __name__ == "__main__":
    drive(Understudy, "understudy", "understudy-openai", "openai")
