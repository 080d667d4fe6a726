"""LiteLLM's SDK: `completion` and `acompletion` with `fallbacks`."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import litellm
from _worker import BACKUP_MODEL, MAX_TOKENS, MODEL, Setting, work

litellm.telemetry = False
litellm.suppress_debug_info = True


class LiteLLM:
    """Fallbacks, and no retries of the client's."""

    def __init__(self, setting: Setting) -> None:
        common: dict[str, Any] = {"api_key": "key", "max_tokens": MAX_TOKENS, "max_retries": 0, "num_retries": 0}
        backup = {"model": f"openai/{BACKUP_MODEL}", "api_base": setting.backup, **common}
        self.options = {"model": f"openai/{MODEL}", "api_base": setting.primary, **common, "fallbacks": [backup]}

    def ask(self, prompt: str) -> str:
        done = litellm.completion(messages=[{"role": "user", "content": prompt}], **self.options)
        return done.choices[0].message.content or ""

    def stream(self, prompt: str) -> Iterator[str]:
        # With fallbacks it makes an async client, whose stream it cannot read.
        messages, options = [{"role": "user", "content": prompt}], self.options | {"fallbacks": None}
        for chunk in litellm.completion(messages=messages, stream=True, **options):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    async def aask(self, prompt: str) -> str:
        done = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **self.options)
        return done.choices[0].message.content or ""

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        messages = [{"role": "user", "content": prompt}]
        async for chunk in await litellm.acompletion(messages=messages, stream=True, **self.options):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


if __name__ == "__main__":
    work(LiteLLM, "litellm", "openai")
