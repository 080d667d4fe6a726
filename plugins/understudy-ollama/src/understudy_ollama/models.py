"""Which model is asked by default, which of them think and how much, and which settings a model itself takes.

What a model refuses is nowhere listed: the models are whatever was pulled, and the server says what one of them lacks.
Which of them think is known of the library's; of others it is learned from what they answer.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from understudy import Request
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import MORE_ROOM, ROOM, SHORT_ANSWER, room_to_think

SOURCE = "https://github.com/ollama/ollama"
FILES = f"{SOURCE}/blob/v0.33.0-rc2"  # of 2026-08-21: where a file of the server is named without another version
READ = "2026-11-30"

# The model of every example in the README of ollama 0.6.3, and of Ollama's own page on its API, read 2026-11-23.
DEFAULT_MODEL = "gemma4"

# Beginnings of names. These models go on from an assistant's message at the end: the template of Llama 3.1 to 3.3
# leaves the last message open (https://github.com/ollama/ollama/issues/6778, read 2026-11-23), and so does the server's
# renderer for Qwen3-Coder (ollama, model/renderers/qwen3coder.go). Others close it and begin a new one, Gemma 4 among
# them (gemma4.go); the API does not tell which do.
_PREFILL = ("llama3.1", "llama3.2", "llama3.3", "qwen3-coder")

# Settings of a model, which the API has under `options` (ollama 0.6.3, _types.Options, and its documentation of
# Modelfiles). Beside `options` it would pass them over without a word.
MODEL_SETTINGS = frozenset(
    (
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "use_mlock", "num_thread", "num_keep", "numa"),
        *("num_predict", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "tfs_z", "stop"),
        *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "penalize_newline"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "low_vram", "f16_kv", "logits_all", "vocab_only"),
    )
)
# Those with which a model is loaded: another value loads it again (ollama, api/types.go, Runner; sched.go,
# needsReload).
LOAD_SETTINGS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")

# Models of the library that think: since 0.12.5 the server sets `think` to true where a request leaves it out and the
# model can (server/routes.go, ChatHandler; so still in v0.40.0, server/model_thinking.go). By their names before the
# colon. From docs/capabilities/thinking.mdx: qwen3, gpt-oss, deepseek-v3.1, deepseek-r1. From the server's own parsers
# (model/parsers): gemma4, qwen3.5, which reads qwen3.6 too, qwen3.8, glm-4.7, nemotron-3-nano. Magistral: the notes of
# 0.9.1. The last two were seen to use up 1,000 tokens before their answers
# (https://github.com/NousResearch/hermes-agent/issues/46131). All read 2026-11-30.
THINKING = (
    *("gemma4", "qwen3", "qwen3.5", "qwen3.6", "qwen3.8", "gpt-oss", "deepseek-r1", "deepseek-v3.1", "magistral"),
    *("glm-4.7", "glm-4.7-flash", "nemotron-3-nano", "glm-5.3-flash", "kimi-k2.7-code"),
)
_INSTRUCT = "instruct"  # in a tag of these models: one that was trained without thinking, such as qwen3:4b-instruct
# Models that take a level of thinking, and the lowest. For others any level is `think: true`
# (model/renderers/qwen35.go; docs/capabilities/thinking.mdx).
LEAST: Mapping[str, str] = {"gpt-oss": "low", "qwen3.8": "low"}
# Models that think whatever `think` says: "passing true/false is ignored" (docs/capabilities/thinking.mdx).
STEADY = ("gpt-oss",)
# How much a model thinks that is told no level: "medium" of those that have some (api/types.go, ThinkValue.String);
# others were seen to think 2,000 to 3,000 characters for a summary, and more than 1,000 tokens (the issues above).
USUAL = "medium"

# Ollama's context window where neither the request, the model nor the server sets one, by the memory of the graphics
# card: docs/context-length.mdx, read 2026-11-30.
CONTEXT: Mapping[str, int] = {"less than 24 GiB": 4096, "24 to 48 GiB": 32_768, "48 GiB or more": 262_144}
LEAST_CONTEXT = min(CONTEXT.values())

KEPT = 300  # seconds that a model stays in memory after an answer (docs/faq.mdx, read 2026-11-30)


def takes_prefill(model: str) -> bool:
    """Return whether a model is known to go on from an assistant's message at the end."""
    return model.rpartition("/")[2].startswith(_PREFILL)


def full_name(model: str) -> str:
    """Return a model's name as the server's lists have it: with its tag, without the library's own address."""
    name = model.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def runs_elsewhere(model: str) -> bool:
    """Return whether a name says that the server passes the request on to ollama.com, and loads nothing itself."""
    return full_name(model).endswith("cloud")


def thinks(model: str, think: Any = None, learned: Container[str] = ()) -> bool:
    """Return whether a model will think, as far as is known.

    Args:
        model: its name.
        think: what the request says of it; None where it says nothing.
        learned: full names of models that were seen to think.
    """
    name = full_name(model)
    family, _, tag = name.partition(":")
    if think is False and family not in STEADY:
        return False
    return name in learned or (family in THINKING and _INSTRUCT not in tag)


def least_thinking(request: Request, model: str, think: Any = None) -> str | None:
    """Return the level to ask for where a short answer is wanted and nothing is said of thinking; None for no other."""
    if think is not None or request.max_tokens is None or request.max_tokens > SHORT_ANSWER:
        return None
    return LEAST.get(full_name(model).partition(":")[0])


def level_of(request: Request, model: str, options: Mapping[str, Any], learned: Container[str] = ()) -> str:
    """Return how much a model will think, as far as is known: a level of understudy_toolkit.thinking.ROOM.

    Args:
        request: what to ask.
        model: the model to ask.
        options: what the caller wants of Ollama alone, the model's settings among them.
        learned: full names of models that were seen to think.
    """
    think = options.get("think")
    return _level(request, model, think) if thinks(model, think, learned) else "none"


def _level(request: Request, model: str, think: Any) -> str:
    return least_thinking(request, model, think) or (think if isinstance(think, str) and think in ROOM else USUAL)


def room_for(
    request: Request,
    model: str,
    options: Mapping[str, Any],
    learned: Container[str] = (),
    adaptation: str | None = None,
) -> int:
    """Return how many tokens to request in addition to `max_tokens`, as room for thinking.

    Args:
        request: what to ask.
        model: the model to ask.
        options: what the caller wants of Ollama alone, the model's settings among them.
        learned: full names of models that were seen to think.
        adaptation: of the request.
    """
    if request.max_tokens is None or "num_predict" in options:  # there is no limit, or the caller's own
        return 0
    think, window = options.get("think"), options.get("num_ctx")
    if not thinks(model, think, learned) and adaptation != MORE_ROOM:
        return 0
    level = _level(request, model, think)
    return room_to_think(level, request.max_tokens, window if isinstance(window, int) else None, adaptation)


# ---- what is told of all this ----

# Why each field of a default call is sent to DEFAULT_MODEL.
WHY_SENT: Mapping[str, str] = {
    "stream": "Ollama streams unless it is told not to",
    "truncate": "a conversation that is too long is refused, where Ollama would leave out its beginning without a word",
    "shift": "an answer that fills the context window ends there, where Ollama would forget the beginning to go on",
    "options.temperature": "the factory's default: the likeliest words",
    "options.num_predict": "the answer's max_tokens and room to think, which Ollama counts together",
    "not sent: think": "this model thinks unless told not to, and has no levels; false is no safe default, since some "
    "builds of it answer nothing then (https://github.com/ollama/ollama/issues/17823)",
    "not sent: options.num_ctx": "the size of the context window is the server's: another one loads the model again",
    "not sent: keep_alive": f"the server keeps a model for {KEPT // 60} minutes after an answer, or as it is set to",
}


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of Ollama's models, made from the tables above."""
    windows = ", ".join(f"{size:,} with {memory}" for memory, size in CONTEXT.items())
    levels = ", ".join(f'{model} ("{level}")' for model, level in LEAST.items())
    return (
        ModelRule(
            "default model",
            DEFAULT_MODEL,
            "the model of Ollama's own examples; it takes tools and images, and has to be pulled once (9.6 GB)",
            f"{FILES}/docs/context-length.mdx",
            READ,
        ),
        ModelRule(
            "thinking",
            ", ".join(THINKING),
            "think where `think` is left out, within num_predict; so does every model whose answers were seen to hold "
            "thinking, for as long as the provider lives; `think: false` turns it off",
            f"{FILES}/docs/capabilities/thinking.mdx",
            READ,
        ),
        ModelRule(
            "thinking",
            ", ".join(LEAST),
            f"take levels: an answer of at most {SHORT_ANSWER} tokens is asked for with the least thinking, {levels}, "
            "unless the options say otherwise",
            f"{FILES}/docs/capabilities/thinking.mdx",
            READ,
        ),
        ModelRule(
            "thinking",
            ", ".join(STEADY),
            "think even with `think: false`, so room for it is asked for all the same",
            f"{FILES}/docs/capabilities/thinking.mdx",
            READ,
        ),
        ModelRule(
            "thinking",
            f"{DEFAULT_MODEL}, builds for MLX",
            "answered nothing with `think: false` in 0.32.14: it is not sent unless it is asked for",
            f"{SOURCE}/issues/17823",
            READ,
        ),
        ModelRule(
            "room to think",
            "all that think",
            f"num_predict is max_tokens and {ROOM[USUAL]:,} more; with the least thinking {ROOM['low']:,}; after an "
            "answer that thinking used up four times as much. Never more than num_ctx, where the options set it",
            "https://github.com/NousResearch/hermes-agent/issues/46131",
            READ,
        ),
        ModelRule(
            "limit",
            "all",
            f"the context window is {windows} of graphics memory, unless num_ctx is set. What is longer is refused "
            "(400), and an answer ends where the window is full, whatever num_predict says",
            f"{FILES}/docs/context-length.mdx",
            READ,
        ),
        ModelRule(
            "limit",
            "all",
            f"a model is loaded by its first request, and kept for {KEPT // 60} minutes; loading stops when that "
            "request is given up, and another value of shift or num_ctx loads it again",
            f"{FILES}/server/sched.go",
            READ,
        ),
        ModelRule(
            "prefill",
            ", ".join(_PREFILL),
            "go on from an assistant's message at the end; others begin a new one",
            f"{SOURCE}/issues/6778",
            "2026-11-23",
        ),
        ModelRule(
            "price",
            DEFAULT_MODEL,
            "nothing on a machine of your own; ollama.com sells plans by the time on its graphics cards",
            "https://ollamatps.com/pricing",
            READ,
        ),
        ModelRule(
            "first answer",
            DEFAULT_MODEL,
            "depends on the machine. Loading comes first: 50 to 60 s on a CPU, then 2.8 s for an answer",
            "https://github.com/mrviduus/textstack/pull/234",
            READ,
        ),
        ModelRule(
            "first answer",
            DEFAULT_MODEL,
            "A summary took 58 s with thinking, 13 s without",
            "https://github.com/jingerzz/clarion-intelligence-system/pull/76",
            READ,
        ),
    )
