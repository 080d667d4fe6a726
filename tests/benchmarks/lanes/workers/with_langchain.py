"""LangChain: a ChatOpenAI with_fallbacks."""

from collections.abc import AsyncIterator, Iterator

from _worker import BACKUP_MODEL, MAX_TOKENS, MODEL, Setting, work
from langchain_openai import ChatOpenAI


class LangChain:
    """Two models, and no retries of their clients."""

    def __init__(self, setting: Setting) -> None:
        primary, backup = (
            ChatOpenAI(base_url=url, model=model, api_key="key", max_tokens=MAX_TOKENS, max_retries=0)
            for url, model in ((setting.primary, MODEL), (setting.backup, BACKUP_MODEL))
        )
        self.model = primary.with_fallbacks([backup])

    def ask(self, prompt: str) -> str:
        return str(self.model.invoke(prompt).content)

    def stream(self, prompt: str) -> Iterator[str]:
        for chunk in self.model.stream(prompt):
            yield str(chunk.content)

    async def aask(self, prompt: str) -> str:
        return str((await self.model.ainvoke(prompt)).content)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        async for chunk in self.model.astream(prompt):
            yield str(chunk.content)


if __name__ == "__main__":
    work(LangChain, "langchain-core", "langchain-openai", "openai")
