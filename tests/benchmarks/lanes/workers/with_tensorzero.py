"""TensorZero: the gateway embedded in the process, one model with two providers."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from _worker import BACKUP_MODEL, MAX_TOKENS, MODEL, Setting, work
from tensorzero import AsyncTensorZeroGateway, TensorZeroGateway

CONFIGURATION = """
[gateway]
disable_pseudonymous_usage_analytics = true
observability.enabled = false

[models.answers]
routing = ["primary", "backup"]

[models.answers.providers.primary]
type = "openai"
model_name = "{model}"
api_base = "{primary}/"
api_key_location = "none"

[models.answers.providers.backup]
type = "openai"
model_name = "{backup_model}"
api_base = "{backup}/"
api_key_location = "none"
"""


class TensorZero:
    """A gateway for sync calls and one for event loops, each made when it is first needed."""

    def __init__(self, setting: Setting) -> None:
        self.text = CONFIGURATION.format(
            primary=setting.primary, backup=setting.backup, model=MODEL, backup_model=BACKUP_MODEL
        )
        self.made: dict[type, Any] = {}

    def ask(self, prompt: str) -> str:
        return _text(self.gateway(TensorZeroGateway).inference(**_asked(prompt)).content)

    def stream(self, prompt: str) -> Iterator[str]:
        for chunk in self.gateway(TensorZeroGateway).inference(**_asked(prompt), stream=True):
            yield _text(chunk.content)

    async def aask(self, prompt: str) -> str:
        return _text((await self.gateway(AsyncTensorZeroGateway).inference(**_asked(prompt))).content)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        async for chunk in await self.gateway(AsyncTensorZeroGateway).inference(**_asked(prompt), stream=True):
            yield _text(chunk.content)

    def gateway(self, kind: type) -> Any:
        """Return the gateway of a kind."""
        if kind not in self.made:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "tensorzero.toml")
                file.write_text(self.text, "utf-8")
                options = {"async_setup": False} if kind is AsyncTensorZeroGateway else {}
                self.made[kind] = kind.build_embedded(config_file=str(file), **options)  # type: ignore[attr-defined]  # not in its types
        return self.made[kind]


def _asked(prompt: str) -> dict[str, Any]:
    return {
        "model_name": "answers",
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "params": {"chat_completion": {"max_tokens": MAX_TOKENS}},
    }


def _text(content: Any) -> str:
    return "".join(block.text for block in content if block.type == "text")


if __name__ == "__main__":
    work(TensorZero, "tensorzero")
