"""Pydantic AI: an agent whose model is a FallbackModel, or which has the capability ModelFallback."""

from collections.abc import AsyncIterator
from typing import Any

from _driver import BACKUP_MODEL, PRIMARY_MODEL, Finish, Setting, Whole, drive
from pydantic_ai import Agent, ModelResponse, ModelSettings
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.exceptions import ModelAPIError, ModelRequestRejectedError, UnexpectedModelBehavior
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider


class PydanticAi:
    """As they come: two models and the timeout. Tuned: no retries, deadlines, what to fall back on, whole streams."""

    opens_for = None
    recovers = False

    def __init__(self, setting: Setting) -> None:
        self.whole, self.streamed = ModelSettings(), ModelSettings()
        for settings in (self.whole, self.streamed):
            if setting.timeout is not None:
                settings["timeout"] = setting.timeout
            if setting.max_tokens is not None:
                settings["max_tokens"] = setting.max_tokens
        strict = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=setting.variant == "tuned")
        models = [_model(setting.primary, PRIMARY_MODEL, strict), _model(setting.backup, BACKUP_MODEL, strict)]
        options: dict[str, Any] = {}
        if setting.variant == "tuned":
            self.whole["max_retries"] = self.streamed["max_retries"] = 0
            if setting.timeout is not None:
                self.whole["request_timeout"] = self.streamed["first_event_timeout"] = setting.timeout
            options = {"fallback_on": [_may_be_better_elsewhere, _is_empty]}
        if setting.options.get("capability"):
            self.agent = Agent(models[0], capabilities=[ModelFallback(models[1], **options)])
        else:
            self.agent = Agent(FallbackModel(*models, **options))

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        result = await self.agent.run(prompt, model_settings=self.whole)
        return Whole(result.output, result.response.model_name, result.response.usage.output_tokens)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        async with self.agent.run_stream(prompt, model_settings=self.streamed) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                yield piece
            response = result.response
            yield Finish(response.finish_reason, response.model_name, response.usage.output_tokens)

    async def close(self) -> None:
        """Nothing is held that does not end with the process."""


def _model(url: str, name: str, profile: OpenAIModelProfile) -> OpenAIChatModel:
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="none")
    return OpenAIChatModel(name, provider=provider, profile=profile)


def _may_be_better_elsewhere(error: Exception) -> bool:
    """Any failure of a model but that of the request itself, and answers that cannot be read."""
    if isinstance(error, ModelRequestRejectedError):
        return getattr(error, "status_code", None) != 400
    return isinstance(error, ModelAPIError | UnexpectedModelBehavior)


def _is_empty(response: ModelResponse) -> bool:
    return not response.text and not response.tool_calls


if __name__ == "__main__":
    drive(PydanticAi, "pydantic-ai-slim", "openai")
