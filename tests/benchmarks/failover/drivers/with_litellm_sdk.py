"""LiteLLM's SDK: `acompletion` with `fallbacks`."""

from collections.abc import AsyncIterator
from typing import Any

import litellm
from _driver import BACKUP_MODEL, PRIMARY_MODEL, Finish, Setting, Whole, drive

litellm.telemetry = False
litellm.suppress_debug_info = True


class Sdk:
    """As they come: the fallbacks and the timeout. Tuned: no retries of the client's."""

    opens_for = None
    recovers = False

    def __init__(self, setting: Setting) -> None:
        self.usage = setting.usage
        common: dict[str, Any] = {"api_key": "none"}
        if setting.timeout is not None:
            common["timeout"] = setting.timeout
        if setting.max_tokens is not None:
            common["max_tokens"] = setting.max_tokens
        if setting.variant == "tuned":
            common |= {"max_retries": 0, "num_retries": 0}
        backup = {"model": f"openai/{BACKUP_MODEL}", "api_base": f"{setting.backup}/v1", **common}
        self.options = {"model": f"openai/{PRIMARY_MODEL}", "api_base": f"{setting.primary}/v1", **common}
        self.options["fallbacks"] = [backup]

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        response = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **self.options)
        return Whole(response.choices[0].message.content or "", response.model, response.usage)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        messages, finish, model, usage = [{"role": "user", "content": prompt}], None, None, None
        told: dict[str, Any] = {"stream_options": {"include_usage": True}} if self.usage else {}
        async for chunk in await litellm.acompletion(messages=messages, stream=True, **told, **self.options):
            model, usage = chunk.model or model, getattr(chunk, "usage", None) or usage
            if chunk.choices:
                finish = chunk.choices[0].finish_reason or finish
                yield chunk.choices[0].delta.content or ""
        yield Finish(finish, model, usage)

    async def close(self) -> None:
        """Forget the clients."""
        litellm.in_memory_llm_clients_cache.flush_cache()


if __name__ == "__main__":
    drive(Sdk, "litellm")
