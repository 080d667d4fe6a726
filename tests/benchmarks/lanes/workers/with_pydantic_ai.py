"""Pydantic AI: an agent whose model is a FallbackModel."""

from collections.abc import AsyncIterator, Iterator

from _worker import BACKUP_MODEL, MAX_TOKENS, MODEL, Setting, work
from pydantic_ai import Agent, ModelSettings
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class PydanticAi:
    """Two models, and no retries of their clients."""

    def __init__(self, setting: Setting) -> None:
        models = [_model(setting.primary, MODEL), _model(setting.backup, BACKUP_MODEL)]
        self.agent = Agent(FallbackModel(*models))
        self.settings = ModelSettings(max_tokens=MAX_TOKENS, max_retries=0)

    def ask(self, prompt: str) -> str:
        return self.agent.run_sync(prompt, model_settings=self.settings).output

    def stream(self, prompt: str) -> Iterator[str]:
        result = self.agent.run_stream_sync(prompt, model_settings=self.settings)
        yield from result.stream_text(delta=True, debounce_by=None)

    async def aask(self, prompt: str) -> str:
        return (await self.agent.run(prompt, model_settings=self.settings)).output

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        async with self.agent.run_stream(prompt, model_settings=self.settings) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                yield piece


def _model(url: str, name: str) -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=url, api_key="key"))


if __name__ == "__main__":
    work(PydanticAi, "pydantic-ai-slim", "openai")
