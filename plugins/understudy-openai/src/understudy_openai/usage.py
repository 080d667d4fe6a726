"""Tokens that a reply cost, wherever a server tells them: OpenAI's form, and what compatible servers make of it.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy import Usage

_MOST = 10**12  # of one reply: a larger number is not a count

# Where the parts of a count stand, besides OpenAI's details. Read 2026-11-30:
# DeepSeek, https://api-docs.deepseek.com/guides/kv_cache; Moonshot, vercel/ai#12425 and its neighbours; what LiteLLM
# and other gateways take over from Anthropic; Perplexity's and z.AI's reasoning at the top.
_FROM_CACHE = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_TO_CACHE = ("cache_write_tokens", "cache_creation_input_tokens")
_REASONED = ("reasoning_tokens",)


def count_tokens(counted: Any, read: str, written: str) -> Usage | None:
    """Return the tokens that a reply cost; None where the server does not tell.

    Args:
        counted: the reply's usage.
        read: what the API calls tokens read: "prompt" or "input".
        written: what it calls tokens written: "completion" or "output".
    """
    if not isinstance(counted, Mapping):
        return None
    total = _number(counted.get("total_tokens"))
    prompt = _first(counted, (f"{read}_tokens", "input_tokens", "prompt_tokens"))
    answered = _first(counted, (f"{written}_tokens", "output_tokens", "completion_tokens"))
    if prompt is None and answered is not None and total is not None and total >= answered:
        prompt = total - answered
    if answered is None and prompt is not None and total is not None and total >= prompt:
        answered = total - prompt
    if prompt is None or answered is None or not _says_something(counted):
        return None
    details, thought = _details(counted, read, "input"), _details(counted, written, "output")
    reasoned = _first(thought, _REASONED, counted)
    unseen = 0 if total is None else total - prompt - answered
    if reasoned is None and unseen > 0 and unseen != _first(details, _FROM_CACHE, counted):
        reasoned = unseen  # Gemini's way: in the total alone (mozilla-ai/any-llm#1290)
    reasoned = reasoned or 0
    # beside the answer, not within it: xAI's way (vercel/ai#12425); read 2026-11-30
    apart = reasoned > 0 and (unseen == reasoned or reasoned > answered)
    return Usage(
        input_tokens=prompt,
        output_tokens=answered + reasoned if apart else answered,
        thinking_tokens=reasoned,
        cache_read_tokens=_first(details, _FROM_CACHE, counted) or 0,
        cache_write_tokens=_first(details, _TO_CACHE, counted) or 0,
    )


def usage_in(body: Mapping[str, Any]) -> Any:
    """Return the usage of a reply, or of a chunk: at the top, in its choice (Moonshot), or in `x_groq` (Groq)."""
    choices = body.get("choices")
    places: list[Any] = [body, *(choices if isinstance(choices, list) else ()), body.get("x_groq")]
    told = (place.get("usage") for place in places if isinstance(place, Mapping))
    return next((usage for usage in told if usage and _says_something(usage)), None)


def _says_something(usage: Any) -> bool:
    """Return whether a usage is more than zeros, which servers send that do not count, or have not yet.

    mudler/LocalAI#1609, router-for-me/CLIProxyAPI#4053 and Gitlawb/openclaude#1444, read 2026-12-01.
    """
    return not isinstance(usage, Mapping) or any(map(_number, usage.values()))


def _details(counted: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    told = (counted.get(f"{name}_tokens_details") for name in names)
    return next((details for details in told if isinstance(details, Mapping)), {})


def _first(place: Mapping[str, Any], names: Iterable[str], second: Mapping[str, Any] | None = None) -> int | None:
    """Return the first of these counts that is one, in either place."""
    places = [place] if second is None else [place, second]
    found = (_number(one.get(name)) for one in places for name in names)
    return next((number for number in found if number is not None), None)


def _number(value: Any) -> int | None:
    """Return a count; None for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None
