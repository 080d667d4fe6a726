"""How healthy vendors answer: after how long, with how many tokens, and with which signs of life before that."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

# Chat models, seconds to the first token: p50 0.6 s, p99 4.0 s. Published medians of models that do not think lie
# between 0.1 and 3 s, 95th percentiles between 0.3 and 8 s.
# https://deploybase.ai/articles/llm-api-latency-comparison-time-to-first-token, read 2026-11-30 (0.05-0.6, 0.15-2 s)
# https://github.com/goplus/builder/issues/3334, read 2026-11-30 (p50 1.5-3.5 s, p95 2.1-16 s, through a gateway)
CHAT_FIRST = 0.6
CHAT_FIRST_SPREAD = 0.8156  # of the logarithm: ln(4.0 / 0.6) / 2.326

# Tokens a second once it writes. https://aistackwatch.com/en/wiki/latency, read 2026-11-30 (70-140)
CHAT_SPEED = 60.0, 120.0

# Tokens of a chat's answer: an assumption. The length follows the prompt, so it is much the same at every vendor.
CHAT_TOKENS, CHAT_SPREAD, CHAT_BOUNDS = 300.0, 0.85, (50, 1500)
WEB_TOKENS, WEB_SPREAD, WEB_BOUNDS = 180.0, 0.6, (30, 300)  # a page that asks for 300 at most
OWN_SPREAD = 0.2  # of the logarithm: how much a vendor's answer to the same prompt is longer or shorter

# Thinking models: the first thing to be seen after 8 s (p95 48 s, p99 104 s), all of it after 25 s (p95 124 s, p99
# 242 s). https://github.com/2389-research/tracker/issues/577, read 2026-11-30: turns of gpt-5 take 32.8 s in the mean,
# one was silent for 32 s and succeeded, turns of claude-sonnet-4-6 take up to 304 s.
# https://github.com/AntigmaLabs/ante/issues/187, read 2026-11-30: a thinking phase of 8.5 minutes.
THINKING_FIRST, THINKING_FIRST_SPREAD = 8.0, 1.1
THINKING_TOTAL = 25.0
THINKING_SPEED = 70.0  # tokens a second, thoughts included: an assumption
THINKING_MOST = 32_000  # tokens
SHARED = math.sqrt(0.5)  # half of the variance is the prompt's, half the vendor's own: an assumption
GAP, GAP_SPREAD = 2.0, 1.0  # between two pieces of thoughts, median and spread: an assumption, p99 20 s

# A vendor that gives signs of life confirms the request at once, and breaks a silence every 30 s.
# https://github.com/AntigmaLabs/ante/issues/187, read 2026-11-30: 331 ms to the first bytes, a keepalive every 30 s
# https://github.com/BerriAI/litellm/pull/36024, read 2026-11-30: Anthropic pings every 30 s or so in a long silence
ACCEPTED, ACCEPTED_SPREAD = 0.5, 0.5
HEARTBEAT = 30.0

# A model on a machine of one's own.
LOCAL_FIRST = 0.5  # seconds: an assumption
LOCAL_SPEED = 20.0  # tokens a second: an assumption, a model of 8B on a small graphics card
LOCAL_TOKENS, LOCAL_SPREAD, LOCAL_BOUNDS = 180.0, 0.7, (30, 600)

PIECE = 3.0  # seconds between two pieces of a chat's answer: real ones come sooner, and say no more


@dataclass(slots=True)
class Answer:
    """What a vendor has to say to a prompt.

    Args:
        first: seconds until its first piece.
        seconds: until its end.
        tokens: written, thoughts included.
        accepted: seconds until a vendor that gives signs of life confirms the request.
        times: how many times as long all of it takes just now.
    """

    first: float
    seconds: float
    tokens: int
    accepted: float = 0.0
    times: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind of vendor answers.

    Args:
        name: in words.
        answer: draws an answer from the vendor's own chance and from the prompt's, which all vendors share.
        thinks: whether it thinks before it answers.
        heartbeat: seconds of silence after which it gives a sign of life in a stream; None for never.
        local: whether it runs on a machine of one's own.
    """

    name: str
    answer: Callable[[Random, Random], Answer]
    thinks: bool = False
    heartbeat: float | None = None
    local: bool = False


def lognormal(draw: Random, median: float, spread: float) -> float:
    """Draw from a log-normal distribution, `spread` being the standard deviation of the logarithm."""
    return median * math.exp(spread * draw.gauss(0.0, 1.0))


def _tokens(own: Random, prompt: Random, median: float, spread: float, bounds: tuple[int, int]) -> int:
    wanted = lognormal(prompt, median, spread) * lognormal(own, 1.0, OWN_SPREAD)
    return int(min(max(wanted, bounds[0]), bounds[1]))


def _written(own: Random, tokens: int) -> Answer:
    slowest, fastest = CHAT_SPEED
    first = lognormal(own, CHAT_FIRST, CHAT_FIRST_SPREAD)
    return Answer(first, first + tokens / (slowest + (fastest - slowest) * own.random()), tokens)


def chat_answer(own: Random, prompt: Random) -> Answer:
    """Draw a chat model's answer: p50 4.3 s, p95 15 s, p99 21 s."""
    return _written(own, _tokens(own, prompt, CHAT_TOKENS, CHAT_SPREAD, CHAT_BOUNDS))


def web_answer(own: Random, prompt: Random) -> Answer:
    """Draw a chat model's answer of 300 tokens at most."""
    return _written(own, _tokens(own, prompt, WEB_TOKENS, WEB_SPREAD, WEB_BOUNDS))


def thinking_answer(own: Random, prompt: Random) -> Answer:
    """Draw a thinking model's answer."""
    hard = SHARED * prompt.gauss(0.0, 1.0)
    slow_to_begin = hard + SHARED * own.gauss(0.0, 1.0)
    slow_to_end = hard + SHARED * own.gauss(0.0, 1.0)
    first = THINKING_FIRST * math.exp(THINKING_FIRST_SPREAD * slow_to_begin)
    total = max(THINKING_TOTAL * math.exp(0.6 * slow_to_begin + 0.53 * slow_to_end), 1.15 * first + 2.0)
    accepted = min(lognormal(own, ACCEPTED, ACCEPTED_SPREAD), 0.5 * first)
    return Answer(first, total, int(min(total * THINKING_SPEED, THINKING_MOST)), accepted)


def local_answer(own: Random, prompt: Random) -> Answer:
    """Draw the answer of a model that is in memory and has a slot free."""
    tokens = _tokens(own, prompt, LOCAL_TOKENS, LOCAL_SPREAD, LOCAL_BOUNDS)
    return Answer(LOCAL_FIRST, LOCAL_FIRST + tokens / LOCAL_SPEED, tokens)


CHAT = Kind(name="chat", answer=chat_answer)
WEB = Kind(name="web", answer=web_answer)
THINKING = Kind(name="thinking, with signs of life", answer=thinking_answer, thinks=True, heartbeat=HEARTBEAT)
SILENT = Kind(name="thinking, silent", answer=thinking_answer, thinks=True)
LOCAL = Kind(name="local", answer=local_answer, local=True)
