"""LangChain: a ChatOpenAI with_fallbacks."""

from collections.abc import AsyncIterator
from typing import Any

import openai
from _driver import BACKUP_MODEL, PRIMARY_MODEL, Finish, Setting, Whole, drive
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

# A failure of the vendor, or an answer that makes no sense: everything but a request that is itself at fault.
HANDLED = (
    openai.APIConnectionError,
    openai.RateLimitError,
    openai.InternalServerError,
    openai.APIResponseValidationError,
    TimeoutError,
    ValueError,
    TypeError,
    AttributeError,
)


class LangChain:
    """As they come: two models and the timeout. Tuned: no retries, a timeout between chunks, and for whole answers
    the caller's own errors not handled and an answer without text made an error.
    """

    opens_for = None
    recovers = False

    def __init__(self, setting: Setting) -> None:
        common: dict[str, Any] = {"api_key": "none"}
        if setting.usage:
            common["stream_usage"] = True
        if setting.timeout is not None:
            common["timeout"] = setting.timeout
        if setting.max_tokens is not None:
            common["max_tokens"] = setting.max_tokens
        if setting.variant == "tuned":
            common |= {"max_retries": 0}
            if setting.timeout is not None:
                common["stream_chunk_timeout"] = setting.timeout
        primary = ChatOpenAI(base_url=f"{setting.primary}/v1", model=PRIMARY_MODEL, **common)
        backup = ChatOpenAI(base_url=f"{setting.backup}/v1", model=BACKUP_MODEL, **common)
        self.whole = self.streamed = primary.with_fallbacks([backup])
        if setting.variant == "tuned":
            self.whole = (primary | _refuse_empty).with_fallbacks([backup], exceptions_to_handle=HANDLED)

    async def ask(self, prompt: str) -> str:
        """Return the whole answer."""
        message = await self.whole.ainvoke(prompt)
        return Whole(str(message.content), message.response_metadata.get("model_name"), message.usage_metadata)

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        finish, model, usage = None, None, None
        async for chunk in self.streamed.astream(prompt):
            finish = chunk.response_metadata.get("finish_reason") or finish
            model = chunk.response_metadata.get("model_name") or model
            usage = chunk.usage_metadata or usage
            yield str(chunk.content)
        yield Finish(finish, model, usage)

    async def close(self) -> None:
        """Nothing is held that does not end with the process."""


def _refuse_empty(message: AIMessage) -> AIMessage:
    if not message.content and not message.tool_calls:
        raise ValueError("expected text or tool calls, found an empty answer")
    return message


if __name__ == "__main__":
    drive(LangChain, "langchain-core", "langchain-openai", "openai")
