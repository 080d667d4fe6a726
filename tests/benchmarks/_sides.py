"""The two sides that are compared over the upstream: the vendors' SDKs as their users call them, and the factory."""

import anthropic
import google.genai
from _upstream import CLAUDE, GEMINI
from google.genai import errors, types

from understudy import LLMFactory, LLMResponse

PROMPT = "Why is the sky blue?"
MAX_TOKENS = 1024  # as the factory's default
TIMEOUT = 60.0  # seconds, as the factory's default
MESSAGES: list[anthropic.types.MessageParam] = [{"role": "user", "content": PROMPT}]


def claude_client(url: str) -> anthropic.Anthropic:
    """Return a raw client."""
    return anthropic.Anthropic(api_key="key", base_url=url, max_retries=0, timeout=TIMEOUT)


def async_claude_client(url: str) -> anthropic.AsyncAnthropic:
    """Return a raw client for event loops."""
    return anthropic.AsyncAnthropic(api_key="key", base_url=url, max_retries=0, timeout=TIMEOUT)


def gemini_client(url: str) -> google.genai.Client:
    """Return a raw client."""
    options = types.HttpOptions(
        base_url=url, timeout=round(TIMEOUT * 1000), retry_options=types.HttpRetryOptions(attempts=1)
    )
    return google.genai.Client(api_key="key", http_options=options)


def ask_claude(client: anthropic.Anthropic) -> str:
    """Ask, and read the text."""
    message = client.messages.create(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES)
    return "".join(block.text for block in message.content if block.type == "text")


async def async_ask_claude(client: anthropic.AsyncAnthropic) -> str:
    """Ask, and read the text."""
    message = await client.messages.create(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES)
    return "".join(block.text for block in message.content if block.type == "text")


def ask_gemini(client: google.genai.Client) -> str | None:
    """Ask, and read the text."""
    config = types.GenerateContentConfig(max_output_tokens=MAX_TOKENS)
    return client.models.generate_content(model=GEMINI, contents=PROMPT, config=config).text


async def async_ask_gemini(client: google.genai.Client) -> str | None:
    """Ask, and read the text."""
    config = types.GenerateContentConfig(max_output_tokens=MAX_TOKENS)
    reply = await client.aio.models.generate_content(model=GEMINI, contents=PROMPT, config=config)
    return reply.text


def ask_gemini_refused(client: google.genai.Client) -> int:
    """Ask where the quota is used up, and read the status."""
    try:
        ask_gemini(client)
    except errors.ClientError as error:
        return int(error.code)
    raise RuntimeError("expected status 429, found an answer")


async def async_ask_gemini_refused(client: google.genai.Client) -> int:
    """Ask where the quota is used up, and read the status."""
    try:
        await async_ask_gemini(client)
    except errors.ClientError as error:
        return int(error.code)
    raise RuntimeError("expected status 429, found an answer")


def factory(primary: str, fallbacks: list[str], claude_url: str, gemini_url: str) -> LLMFactory:
    """Return a factory that asks the same models at the same places."""
    settings = {
        "ANTHROPIC_API_KEY": "key",
        "ANTHROPIC_BASE_URL": claude_url,
        "CLAUDE_MODEL": CLAUDE,
        "GEMINI_API_KEY": "key",
        "GEMINI_BASE_URL": gemini_url,
        "GEMINI_MODEL": GEMINI,
    }
    return LLMFactory(primary, fallbacks, settings=settings)


def ask(factory: LLMFactory) -> str:
    """Ask, and read the text."""
    return _text(factory.generate_content(PROMPT))


async def async_ask(factory: LLMFactory) -> str:
    """Ask, and read the text."""
    return _text(await factory.agenerate_content(PROMPT))


def _text(response: LLMResponse) -> str:
    if not response.success:
        raise RuntimeError(f"expected an answer, found: {response.error}")
    return response.content
