"""TensorZero: the gateway embedded in the process, one model with two providers."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from _driver import BACKUP_MODEL, PRIMARY_MODEL, Finish, Setting, Whole, drive
from tensorzero import AsyncTensorZeroGateway

CONFIGURATION = """
[gateway]
disable_pseudonymous_usage_analytics = true
observability.enabled = false

[models.answers]
routing = ["primary", "backup"]

[models.answers.providers.primary]
type = "openai"
model_name = "{primary_model}"
api_base = "{primary}/v1/"
api_key_location = "none"
{timeouts}

[models.answers.providers.backup]
type = "openai"
model_name = "{backup_model}"
api_base = "{backup}/v1/"
api_key_location = "none"
{timeouts}
"""
LONGEST_STREAM = 5  # times the timeout


class TensorZero:
    """As it comes: routing and timeouts; nothing retries by default. Tuned: a limit for whole streams too."""

    opens_for = None
    recovers = False

    def __init__(self, setting: Setting) -> None:
        timeouts = ""
        if setting.timeout is not None:
            limit = round(setting.timeout * 1000)
            timeouts = f"non_streaming.total_ms = {limit}, streaming.ttft_ms = {limit}"
            if setting.variant == "tuned":
                timeouts += f", streaming.total_ms = {LONGEST_STREAM * limit}"
            timeouts = f"timeouts = {{ {timeouts} }}"
        models = {"primary_model": PRIMARY_MODEL, "backup_model": BACKUP_MODEL}
        addresses = {"primary": setting.primary, "backup": setting.backup}
        self.options: dict[str, Any] = {}
        if setting.max_tokens is not None:
            self.options = {"params": {"chat_completion": {"max_tokens": setting.max_tokens}}}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "tensorzero.toml")
            file.write_text(CONFIGURATION.format(**addresses, **models, timeouts=timeouts), "utf-8")
            self.gateway = AsyncTensorZeroGateway.build_embedded(config_file=str(file), async_setup=False)

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        response = await self.gateway.inference(model_name="answers", input=_input(prompt), **self.options)
        text = "".join(block.text for block in response.content if block.type == "text")
        return Whole(text, getattr(response, "model_name", None), response.usage)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        finish, usage, asked = None, None, {"model_name": "answers", "input": _input(prompt), **self.options}
        async for chunk in await self.gateway.inference(**asked, stream=True):
            usage = getattr(chunk, "usage", None) or usage
            finish = getattr(chunk, "finish_reason", None) or finish
            for block in chunk.content:
                if block.type == "text":  # not what the model thinks
                    yield block.text
        yield Finish(finish, None, usage)

    async def close(self) -> None:
        """Let go of the gateway."""
        await self.gateway.close()


def _input(prompt: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": prompt}]}


if __name__ == "__main__":
    drive(TensorZero, "tensorzero")
