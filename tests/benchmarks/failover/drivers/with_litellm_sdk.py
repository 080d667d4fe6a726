"""LiteLLM's SDK: `acompletion` with `fallbacks`."""

from collections.abc import AsyncIterator
from typing import Any

import litellm
from _driver import Finish, Setting, drive

litellm.telemetry = False
litellm.suppress_debug_info = True


class Sdk:
    """As they come: the fallbacks and the timeout. Tuned: no retries of the client's."""

    opens_for = None
    recovers = False

    def __init__(self, setting: Setting) -> None:
        common: dict[str, Any] = {"api_key": "none", "timeout": setting.timeout}
        if setting.variant == "tuned":
            common |= {"max_retries": 0, "num_retries": 0}
        backup = {"model": "openai/model-under-test", "api_base": f"{setting.backup}/v1", **common}
        self.options = {"model": "openai/model-under-test", "api_base": f"{setting.primary}/v1", **common}
        self.options["fallbacks"] = [backup]

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        response = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **self.options)
        return response.choices[0].message.content or ""

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        messages, finish = [{"role": "user", "content": prompt}], None
        async for chunk in await litellm.acompletion(messages=messages, stream=True, **self.options):
            if chunk.choices:
                finish = chunk.choices[0].finish_reason or finish
                yield chunk.choices[0].delta.content or ""
        yield Finish(finish)

    async def close(self) -> None:
        """Forget the clients."""
        litellm.in_memory_llm_clients_cache.flush_cache()


if __name__ == "__main__":
    drive(Sdk, "litellm")
