"""Which server is asked through which API, the default model, what models refuse, and when they are retired."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

from understudy import Request, ResponseWarning
from understudy_openai.reasoning import (
    EFFORTS,
    FAMILIES,
    FOR_MANY_SMALL_TASKS,
    ONLY_IN_RESPONSES,
    SAMPLING,
    Family,
    effort_of,
    family_of,
    version_of,
)
from understudy_toolkit.account import without_login
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import ROOM, SHORT_ANSWER

FAMILY = "openai"
Api = Literal["chat", "responses"]

# "the most efficient model for focused, high-volume tasks", on no list of endings, and the successor that OpenAI names
# for gpt-4o, gpt-4.1 and gpt-5-nano: OpenAI's page of the model and its page of deprecations, read 2026-11-30.
DEFAULT_MODEL = "gpt-6-luna"

# From here on Chat Completions refuses function tools to a model that reasons ("use /v1/responses or set
# reasoning_effort to 'none'"); reported of gpt-5.4 and later, and on the pages of gpt-5.6 and gpt-6, 2026-11-23.
_FIRST_ON_RESPONSES = (5, 4)
# Chat Completions: "Up to 4 sequences where the API will stop" (openai 3.57.0, types/chat/completion_create_params.py).
MOST_STOPS = 4
LEAST_TOKENS = 16  # of Responses: fewer are refused with integer_below_min_value
# Kinds of older models that only the Responses API has (openai 3.57.0, types/shared/responses_model.py).
_ONLY_RESPONSES = ("-pro", "-codex", "-deep-research")
_ONLY_CHAT = ("gpt-audio", "chatgpt-4o")

# Seconds: a stream of Responses in which nothing comes for so long has an event `keepalive`. OpenAI documents it
# nowhere; that it is sent: https://github.com/openai/openai-node/issues/1964, after how long:
# https://github.com/AntigmaLabs/ante/issues/187, where the first event came within a second. Chat Completions sends
# nothing while a model reasons: 79 s of silence, https://github.com/BerriAI/litellm/issues/36992. Read 2026-11-30.
HEARTBEAT = 30.0
# Tiers that may have a request wait for a machine before its first event: OpenAI's page of flex processing raises the
# timeout to 15 minutes, https://developers.openai.com/api/docs/guides/flex-processing, read 2026-11-30.
_WAITING = ("flex",)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is asked: OpenAI itself, or a server that speaks its API.

    Args:
        name: the provider's name; failures, responses and data bound to this server carry it.
        is_openai: whether it is a host of OpenAI's own.
        short_ids: whether ids of tool calls must be nine letters or digits, as Mistral wants them.
        account: what tells one account from another in a conversation; "" where that is not known.
        address: where it is, without a login; "" where that is not known.
    """

    name: str = FAMILY
    is_openai: bool = False
    short_ids: bool = False
    account: str = ""
    address: str = ""

    @classmethod
    def at(cls, base_url: str, name: str | None, credential: str = "") -> Endpoint:
        """Return who is asked at this address, with an account that names neither key nor address."""
        host = urlsplit(base_url).hostname or ""
        return cls(
            name or FAMILY,
            is_openai=_is_under("api.openai.com", host),  # eu.api.openai.com and its like, too
            short_ids=_is_under("mistral.ai", host),
            account=hashlib.sha256(credential.encode()).hexdigest()[:10] if credential else "",
            address=without_login(base_url),
        )


def _is_under(domain: str, host: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def choose_api(request: Request, model: str, endpoint: Endpoint, options: Mapping[str, Any]) -> Api:
    """Return which API a model is asked through.

    Args:
        request: what is asked.
        model: the model's name.
        endpoint: who is asked.
        options: the request's options for this endpoint; with "api" as "chat" or "responses" the caller decides.

    Returns:
        On a host of OpenAI's own: Responses, which every model there has, but for older models. Elsewhere: Chat
        Completions, which every server has, but for newer models under OpenAI's own names where they refuse it: with
        tools, while they reason.
    """
    if "api" in options:
        return "chat" if options["api"] == "chat" else "responses"
    version, kind = version_of(model)
    if not endpoint.is_openai:
        refused = version is not None and version >= _FIRST_ON_RESPONSES and "/" not in model and bool(request.tools)
        return "responses" if refused and effort_of(request, model, options) != "none" else "chat"
    if any(only in kind for only in _ONLY_RESPONSES):
        return "responses"
    if version is None or version < _FIRST_ON_RESPONSES:
        return "chat" if version is not None or model.startswith(_ONLY_CHAT) else "responses"
    return "responses"


def heartbeat(request: Request, model: str, endpoint: Endpoint, options: Mapping[str, Any]) -> float | None:
    """Return the seconds after which a silent stream has a sign of life; None where none can be relied on.

    Gateways drop OpenAI's, and other servers that speak its API have others or none.

    Args:
        request: what is asked.
        model: the model's name.
        endpoint: who is asked.
        options: the request's options for this endpoint.
    """
    if not endpoint.is_openai or choose_api(request, model, endpoint, options) != "responses":
        return None
    return None if options.get("background") or options.get("service_tier") in _WAITING else HEARTBEAT


def reasons(model: str) -> bool:
    """Return whether a model is one of OpenAI's that reason; names that are not OpenAI's own are let through."""
    return family_of(model) is not None


_READ = "2026-11-30"
_DEPRECATIONS = "https://developers.openai.com/api/docs/deprecations"
_NOBODY = ""  # who is asked instead of models that speak: none of those that write
# The day a model ends, what to ask instead, and the models. The days are those of openai 3.57.0,
# types/shared/chat_model.py, and where it has none those of OpenAI's page of deprecations; the successors are those
# that the page gives to models that end from December 2026 on, and the same by size for older ones; read 2026-11-30.
_ENDINGS: Mapping[str, tuple[date, str]] = {
    model: (day, successor)
    for day, successor, models in (
        (date(2024, 9, 13), "gpt-6-luna", "gpt-3.5-turbo-16k gpt-3.5-turbo-0301 gpt-3.5-turbo-0613"),
        (date(2024, 9, 13), "gpt-6-luna", "gpt-3.5-turbo-16k-0613"),
        (date(2024, 12, 6), "gpt-6.1-sol", "gpt-4-vision-preview"),
        (date(2025, 6, 6), "gpt-6.1-sol", "gpt-4-32k gpt-4-32k-0314 gpt-4-32k-0613"),
        (date(2025, 7, 28), "gpt-6.1-sol", "o1-preview o1-preview-2024-09-12"),
        (date(2025, 10, 10), _NOBODY, "gpt-4o-audio-preview-2024-10-01"),
        (date(2025, 10, 27), "gpt-6.1-terra", "o1-mini o1-mini-2024-09-12"),
        (date(2026, 2, 12), "gpt-6.1-terra", "codex-mini-latest"),
        (date(2026, 2, 17), "gpt-6-luna", "chatgpt-4o-latest"),
        (date(2026, 3, 26), "gpt-6.1-sol", "gpt-4-0125-preview gpt-4-turbo-preview gpt-4-0314"),
        (date(2026, 5, 7), _NOBODY, "gpt-4o-audio-preview gpt-4o-audio-preview-2024-12-17"),
        (date(2026, 5, 7), _NOBODY, "gpt-4o-audio-preview-2025-06-03 gpt-4o-mini-audio-preview"),
        (date(2026, 5, 7), _NOBODY, "gpt-4o-mini-audio-preview-2024-12-17"),
        (date(2026, 7, 23), "gpt-6.1-sol", "gpt-5.1-codex gpt-5.1-chat-latest gpt-5-chat-latest"),
        (date(2026, 7, 23), "gpt-6-luna", "gpt-4o-search-preview gpt-4o-search-preview-2025-03-11"),
        (date(2026, 7, 23), "gpt-6-luna", "gpt-4o-mini-search-preview gpt-4o-mini-search-preview-2025-03-11"),
        (date(2026, 8, 10), "gpt-6.1-sol", "gpt-5.3-chat-latest gpt-5.2-chat-latest"),
        (date(2026, 9, 28), "gpt-6-luna", "gpt-3.5-turbo-1106"),
        (date(2026, 10, 23), "gpt-6.1-sol", "gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-turbo gpt-4-turbo-2024-04-09"),
        (date(2026, 10, 23), "gpt-6.1-sol", "gpt-4o-2024-05-13 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31"),
        (date(2026, 10, 23), "gpt-6.1-sol", "o1-pro o1-pro-2025-03-19"),
        (date(2026, 10, 23), "gpt-6.1-terra", "o4-mini o4-mini-2025-04-16"),
        (date(2026, 10, 23), "gpt-6-luna", "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4.1-nano gpt-4.1-nano-2025-04-14"),
        (date(2026, 12, 11), "gpt-6.1-sol", "gpt-5 gpt-5-2025-08-07 o3 o3-2025-04-16"),
        (date(2026, 12, 11), "gpt-6.1-sol", "gpt-5-pro gpt-5-pro-2025-10-06 o3-pro o3-pro-2025-06-10"),
        (date(2026, 12, 11), "gpt-6.1-terra", "gpt-5-mini gpt-5-mini-2025-08-07"),
        (date(2026, 12, 11), "gpt-6-luna", "gpt-5-nano gpt-5-nano-2025-08-07"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-2025-04-14 gpt-4.1-mini"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4.1-mini-2025-04-14"),
        (date(2027, 1, 20), _NOBODY, "gpt-audio-mini gpt-audio-mini-2025-12-15"),
        (date(2027, 4, 1), "gpt-6.1-sol", "gpt-5.1 gpt-5.1-2025-11-13 gpt-5.3-codex"),
        (date(2027, 4, 1), "gpt-6-luna", "gpt-5.4-nano gpt-5.4-nano-2026-03-17"),
    )
    for model in models.split()
}


def ending_warnings(model: str, endpoint: Endpoint) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model of OpenAI's that is retired or has a date for it."""
    if not endpoint.is_openai or model not in _ENDINGS:  # elsewhere the same name may live longer
        return ()
    day, successor = _ENDINGS[model]
    instead = f"ask {successor} instead" if successor else f"what to ask instead is said on {_DEPRECATIONS}"
    return (ResponseWarning("model", f"{model} retires on {day}, or has retired: {instead}"),)


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of OpenAI's models, made from the tables that requests are worded by."""
    page = "https://developers.openai.com/ja-JP/api/docs/models/gpt-6-luna"
    stop = "a stop sequence is not sent: the answer is cut at it where it is read"
    return (
        ModelRule(
            "default model",
            DEFAULT_MODEL,
            "OpenAI's most efficient model for focused, high-volume tasks, and the successor that it names for gpt-4o",
            page,
            _READ,
        ),
        ModelRule("price", DEFAULT_MODEL, "$0.10 in and $0.50 out for a million tokens, up to 272,000 in", page, _READ),
        ModelRule(
            "first answer",
            DEFAULT_MODEL,
            "first token after 0.74 s without reasoning",
            "https://artificialanalysis.ai/models/gpt-6-luna-non-reasoning/providers",
            _READ,
        ),
        *(_family_rule(family) for family in FAMILIES),
        ModelRule(
            "thinking",
            f"names with {', '.join(FOR_MANY_SMALL_TASKS)}, and all others that reason",
            f"for an answer of at most {SHORT_ANSWER} tokens the effort is none for the first, where they take it, and "
            "low for all others, or the least above it, unless the options say otherwise",
            "https://github.com/warc0s/opencode-permission-reviewer",
            _READ,
        ),
        ModelRule(
            "thinking",
            "all, in Chat Completions",
            f"effort {ONLY_IN_RESPONSES} is taken by Responses alone, and becomes xhigh",
            "https://github.com/BerriAI/litellm-docs/pull/1173",
            _READ,
        ),
        ModelRule(
            "room to think",
            "all that reason",
            f"reasoning counts within the limit, so that besides max_tokens these are asked for by effort: {_rooms()}",
            "openai 3.57.0, types/responses/response_create_params.py",
            _READ,
        ),
        ModelRule(
            "limit",
            "all, in Responses",
            f"a limit below {LEAST_TOKENS} becomes {LEAST_TOKENS}, with a warning",
            "https://github.com/mnfst/modelparams.dev/pull/236",
            _READ,
        ),
        ModelRule(
            "sampling",
            "all that reason",
            f"{', '.join(SAMPLING)} are left out, with a warning, unless the effort is none",
            "https://developers.openai.com/api/docs/guides/deployment-checklist",
            _READ,
        ),
        ModelRule("stop", "all that reason", stop, "https://github.com/bolna-ai/bolna/pull/1019", _READ),
        ModelRule("stop", "all, in Responses", stop, "openai 3.57.0, types/responses/response_create_params.py", _READ),
        *(
            ModelRule(
                "ending", model, f"retires on {day}" + (f": {successor}" if successor else ""), _DEPRECATIONS, _READ
            )
            for model, (day, successor) in _ENDINGS.items()
        ),
    )


def _family_rule(family: Family) -> ModelRule:
    rule = f"efforts {', '.join(family.efforts)}; another becomes the nearest; writes {family.most:,} tokens at most"
    return ModelRule("thinking", family.models, rule, family.source, family.read)


def _rooms() -> str:
    return ", ".join(f"{ROOM[effort]:,} at {effort}" for effort in EFFORTS)


# What a default call sends to the default model at OpenAI, and why.
WHY_SENT: Mapping[str, str] = {
    "store": "nothing is stored at OpenAI",
    "max_output_tokens": "max_tokens: nothing besides, because the model does not reason",
    "reasoning.effort": "the answer is to be short, and this model is made for many small tasks",
    "temperature": "as asked for; taken only because the effort is none",
    "not sent: include": "without reasoning there is none to be sent back",
    "not sent: stop": "none was given; the answer would be cut at it where it is read",
}
