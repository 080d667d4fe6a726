"""OpenAI's SDK as its users call it: no retries of its own, and a second client where the first one fails."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
from _worker import BACKUP_MODEL, MAX_TOKENS, MODEL, Setting, work


class OpenAI:
    """Two clients, and an `except` between them."""

    def __init__(self, setting: Setting) -> None:
        def options(url: str) -> dict[str, Any]:
            return {"api_key": "key", "base_url": url, "max_retries": 0}

        places = [(setting.primary, MODEL), (setting.backup, BACKUP_MODEL)]
        self.clients = [(openai.OpenAI(**options(url)), model) for url, model in places]
        self.async_clients = [(openai.AsyncOpenAI(**options(url)), model) for url, model in places]

    def ask(self, prompt: str) -> str:
        for client, model in self.clients:
            try:
                done = client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS
                )
            except openai.APIError as error:
                failure = error
                continue
            return done.choices[0].message.content or ""
        raise failure

    def stream(self, prompt: str) -> Iterator[str]:
        client, model = self.clients[0]
        for chunk in client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS, stream=True
        ):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def aask(self, prompt: str) -> str:
        for client, model in self.async_clients:
            try:
                done = await client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS
                )
            except openai.APIError as error:
                failure = error
                continue
            return done.choices[0].message.content or ""
        raise failure

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        client, model = self.async_clients[0]
        async for chunk in await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS, stream=True
        ):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


if __name__ == "__main__":
    work(OpenAI, "openai")
