"""What requests cost in US dollars, by the price list of the package genai-prices: the extra "prices".

    price_of("claude", "claude-sonnet-5-5", response.usage)

Prices are those of the list in the package: nothing is fetched, unless the program itself starts
genai_prices.UpdatePrices. A model that is not on the list has no price here, never a guessed one. The list is imported
when the first price is needed; `prepare` does so in advance.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from understudy.messages import File, Image, Request, Text, Thinking, ToolCall, ToolResult
from understudy.usage import UNPAID, Usage

IMAGE_TOKENS = 1600  # to which Anthropic scales a larger one down (its documentation, "Vision"); others take fewer
FILE_TOKENS = 3000  # a dense page of a PDF (Anthropic's documentation, "PDF support": 1,500 to 3,000 a page)
MAX_TOKENS = 1024  # of an answer, where the request does not say; the default of generate_content
TOKENS_PER_SECOND = 50  # that hosted models write, about: public measurements of 15 models give 44 to 235
BYTES_PER_TOKEN = 4  # of UTF-8; "about 4 characters" of English text, says OpenAI's documentation

# Our names of vendors, where the price list has others.
_VENDORS = MappingProxyType({"claude": "anthropic", "gemini": "google", "gemini-legacy": "google", "vertex": "google"})


@cache
def is_installed() -> bool:
    """Return whether genai-prices is installed, without importing it."""
    return importlib.util.find_spec("genai_prices") is not None


def prepare() -> bool:
    """Import the price list, so that no call has to wait for it.

    Returns:
        Whether it is there.
    """
    if _library() is None:
        return False
    _rates("openai", "gpt-4o", _minute())  # the list itself is read with the first look-up
    return True


def price_of(provider: str, model: str | None, usage: Usage | None) -> float | None:
    """Return what a reply cost.

    Tokens read from a cache or written to one, and tiers for long prompts, have their own prices. The vendor's tools
    (a web search, say), discounts and reserved capacity are not counted: no reply's usage reports them.

    Args:
        provider: the provider's name; for one with a table in `understudy.toml`, its address where the table gives one.
        model: the model that answered.
        usage: the tokens, as the vendor counted them.

    Returns:
        US dollars; 0.0 for echo and for what Ollama runs on your own machines; None where genai-prices is not
        installed or does not know the model, or the vendor reported no usage.
    """
    if not isinstance(model, str) or usage is None:
        return None
    if provider in UNPAID:
        return None if model.endswith("cloud") else 0.0  # Ollama's own servers are not free
    rates = _rates(_VENDORS.get(provider, provider), model, _minute())
    return None if rates is None else rates.dollars(usage)


def estimate(provider: str, model: str | None, request: Request, thinking: int = 0) -> float | None:
    """Estimate what a request will cost, with `estimate_usage`: for comparisons and reserves, not for a bill.

    Returns:
        US dollars, or None as with `price_of`.
    """
    return price_of(provider, model, estimate_usage(request, thinking))


def estimate_usage(request: Request, thinking: int = 0) -> Usage:
    """Estimate the tokens of a request before it is sent.

    A token for every 4 bytes of text: of the conversation, its tool calls and their results, the system instructions,
    tools and the output schema. Images count as 1600, files that are not text as 3000 tokens. The answer is taken to
    be as long as it may be: `max_tokens`, or 1024 where the request does not say.

    Args:
        request: the request.
        thinking: the tokens that the model may spend on thinking besides (`ChatProvider.thinking_room`).
    """
    answer = request.max_tokens or MAX_TOKENS
    return Usage(input_tokens=_count_input(request), output_tokens=answer + thinking, thinking_tokens=thinking)


def estimate_tokens(request: Request, thinking: int = 0) -> int:
    """Estimate how many tokens a request reads and writes, as `estimate_usage` does."""
    return _count_input(request) + (request.max_tokens or MAX_TOKENS) + thinking


def estimate_waste(request: Request, seconds: float, written: int | None, thinking: int = 0) -> int:
    """Estimate the tokens that an attempt cost for nothing: what was read, and what was written until it was given up.

    Args:
        request: what was asked.
        seconds: how long the attempt took.
        written: characters of a stream that came; None if nothing is known of the answer, which then counts as written
            at 50 tokens a second, up to its limit.
        thinking: tokens that the model may think besides those of the answer.
    """
    if written is not None:
        return _count_input(request) + written // BYTES_PER_TOKEN
    most = (request.max_tokens or MAX_TOKENS) + thinking
    return _count_input(request) + min(int(seconds * TOKENS_PER_SECOND), most)


def _count_input(request: Request) -> int:
    tokens = _length(request.system) if request.system else 0.0
    for message in request.messages:
        for part in message.parts:
            tokens += _count(part)
    for tool in request.tools:
        tokens += _length(f"{tool.name}{tool.description}{tool.parameters}")
    if request.output_schema is not None:
        tokens += _length(str(request.output_schema))
    return max(int(tokens), 1)


def _length(text: str) -> float:
    return (len(text) if text.isascii() else len(text.encode(errors="replace"))) / BYTES_PER_TOKEN


def _count(part: Any) -> float:
    """Estimate the tokens of a part of a message."""
    if isinstance(part, Text | Thinking):
        return _length(part.text)
    if isinstance(part, ToolCall):
        return _length(f"{part.name}{dict(part.arguments)}")
    if isinstance(part, ToolResult):
        return _length(part.content) if isinstance(part.content, str) else sum(map(_count, part.content))
    if isinstance(part, File) and part.data is not None and (part.media_type or "").startswith("text/"):
        return len(part.data) / BYTES_PER_TOKEN
    return IMAGE_TOKENS if isinstance(part, Image) else FILE_TOKENS


# ---- the price list ----


@dataclass(frozen=True, slots=True)
class _Rate:
    """US dollars for each token, by the tokens of input from which on they count, the highest first."""

    tiers: tuple[tuple[int, float], ...]

    def at(self, input_tokens: int) -> float:
        return next(price for start, price in self.tiers if input_tokens > start)


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a model costs. Tokens of a kind without a price of its own are charged as ordinary ones."""

    input: _Rate | None
    output: _Rate | None
    cache_read: _Rate | None
    cache_write: _Rate | None
    thinking: _Rate | None
    request: float

    def dollars(self, usage: Usage) -> float:
        """Return the price of a reply. The same as genai-prices', in a fraction of the time."""
        total = self.request
        plain, answer = usage.input_tokens, usage.output_tokens
        for rate, tokens in ((self.cache_read, usage.cache_read_tokens), (self.cache_write, usage.cache_write_tokens)):
            if rate is not None and tokens:
                total += rate.at(usage.input_tokens) * tokens
                plain -= tokens
        if self.thinking is not None:
            total += self.thinking.at(usage.input_tokens) * usage.thinking_tokens
            answer -= usage.thinking_tokens
        if self.input is not None:
            total += self.input.at(usage.input_tokens) * max(plain, 0)
        if self.output is not None:
            total += self.output.at(usage.input_tokens) * max(answer, 0)
        return total


@cache
def _library() -> Any:
    """Import genai-prices; None where it is not installed."""
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices


def _minute() -> int:
    """Return the number of this minute; prices are looked up again each minute, since some depend on day or hour."""
    return int(time.monotonic()) // 60


@lru_cache(maxsize=256)
def _rates(vendor: str, model: str, minute: int) -> _Rates | None:
    """Look up what a model costs; the vendor is an id of the price list's or an address."""
    library = _library()
    if library is None:
        return None
    where: Mapping[str, str] = {"provider_api_url" if "://" in vendor else "provider_id": vendor}
    try:
        found = library.calc_price(library.Usage(input_tokens=1), model, **where)
    except LookupError:
        return None
    if "://" not in vendor and found.provider.id != vendor:
        return None  # the list takes names that only resemble its own
    prices = found.model_price
    rates = _Rates(
        input=_read_rate(getattr(prices, "input_mtok", None)),
        output=_read_rate(getattr(prices, "output_mtok", None)),
        cache_read=_read_rate(getattr(prices, "cache_read_mtok", None)),
        cache_write=_read_rate(getattr(prices, "cache_write_mtok", None)),
        thinking=_read_rate(getattr(prices, "output_reasoning_mtok", None)),
        request=float(getattr(prices, "requests_kcount", None) or 0) / 1000,
    )
    return rates if rates.input or rates.output else None  # it is not charged by the token


def _read_rate(price: Any) -> _Rate | None:
    if price is None:
        return None
    tiers = [(tier.start, float(tier.price) / 1e6) for tier in reversed(getattr(price, "tiers", ()))]
    return _Rate((*tiers, (-1, float(getattr(price, "base", price)) / 1e6)))
