"""Understudy: the provider `openai` under two names of one's own, on a lane and with a preset."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from _worker import BACKUP_MODEL, MODEL, Setting, work

from understudy import LLMFactory, LLMResponse, Policy, TextDelta

NAMES = """
[providers.primary]
uses = "openai"
base_url = "{primary}"
api_key_env = ""
model = "{model}"

[providers.backup]
uses = "openai"
base_url = "{backup}"
api_key_env = ""
model = "{backup_model}"
"""


class Understudy:
    """A factory with a primary and a backup; max_tokens is 1024 by default."""

    def __init__(self, setting: Setting) -> None:
        lane, preset = setting.variant.split()
        insist: dict[str, Any] = {"breaker": False, "quota_cooldown": False} if setting.insists else {}
        names = NAMES.format(primary=setting.primary, backup=setting.backup, model=MODEL, backup_model=BACKUP_MODEL)
        os.environ["OPENAI_TRANSPORT"] = lane
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "understudy.toml").write_text(names, "utf-8")
            os.chdir(folder)  # where the file is looked for
            policy = Policy.patient(**insist) if preset == "patient" else Policy.eager(**insist)
            self.factory = LLMFactory("primary", ["backup"], policy=policy)
            os.chdir("/")

    def ask(self, prompt: str) -> str:
        return _text(self.factory.generate_content(prompt))

    def stream(self, prompt: str) -> Iterator[str]:
        for event in self.factory.stream_content(prompt):
            if isinstance(event, TextDelta):
                yield event.text

    async def aask(self, prompt: str) -> str:
        return _text(await self.factory.agenerate_content(prompt))

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        async for event in self.factory.astream_content(prompt):
            if isinstance(event, TextDelta):
                yield event.text


def _text(response: LLMResponse) -> str:
    if not response.success:
        raise RuntimeError(f"expected an answer, found: {response.error}")
    return response.content


if __name__ == "__main__":
    work(Understudy, "understudy", "understudy-openai", "openai", "aiohttp")
