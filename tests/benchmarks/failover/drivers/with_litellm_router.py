"""LiteLLM's Router: two deployments, the second of which is the fallback of the first, or comes after it in order."""

from collections.abc import AsyncIterator
from typing import Any

import litellm
from _driver import BACKUP_MODEL, PRIMARY_MODEL, Finish, Setting, Whole, drive

litellm.telemetry = False
litellm.suppress_debug_info = True


class Router:
    """As they come: two groups and a fallback, or one group in order. Tuned: no retries, and for the groups, which are
    otherwise not cooled down, a cooldown after the first failures.
    """

    recovers = False

    def __init__(self, setting: Setting) -> None:
        self.usage = setting.usage
        tuned = setting.variant == "tuned"
        in_order = bool(setting.options.get("order"))
        options: dict[str, Any] = {"num_retries": 0} if tuned else {}
        if setting.timeout is not None:
            options["timeout"] = setting.timeout
            if tuned:
                options["stream_timeout"] = setting.timeout
        self.options: dict[str, Any] = {} if setting.max_tokens is None else {"max_tokens": setting.max_tokens}
        if in_order:
            models = [
                _deployment("primary", setting.primary, PRIMARY_MODEL, order=1),
                _deployment("primary", setting.backup, BACKUP_MODEL, order=2),
            ]
        else:
            models = [
                _deployment("primary", setting.primary, PRIMARY_MODEL),
                _deployment("backup", setting.backup, BACKUP_MODEL),
            ]
            options["fallbacks"] = [{"primary": ["backup"]}]
            if tuned:
                options["allowed_fails"] = 1
        if setting.open_for is not None:
            options["cooldown_time"] = setting.open_for
        self.router = litellm.Router(model_list=models, **options)
        self.opens_for: float | None = float(self.router.cooldown_time)

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        response = await self.router.acompletion("primary", [{"role": "user", "content": prompt}], **self.options)
        return Whole(response.choices[0].message.content or "", response.model, response.usage)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        messages, finish, model, usage = [{"role": "user", "content": prompt}], None, None, None
        told: dict[str, Any] = {"stream_options": {"include_usage": True}} if self.usage else {}
        async for chunk in await self.router.acompletion("primary", messages, stream=True, **told, **self.options):
            model, usage = chunk.model or model, getattr(chunk, "usage", None) or usage
            if chunk.choices:
                finish = chunk.choices[0].finish_reason or finish
                yield chunk.choices[0].delta.content or ""
        yield Finish(finish, model, usage)

    async def close(self) -> None:
        """Take the router out of LiteLLM's lists."""
        self.router.discard()


def _deployment(name: str, url: str, model: str, **more: int) -> dict[str, Any]:
    parameters = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", **more}
    return {"model_name": name, "litellm_params": parameters}


if __name__ == "__main__":
    drive(Router, "litellm")
