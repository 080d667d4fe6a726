"""The sentences that servers refuse with, where nothing else that they say tells their refusals apart.

Nothing is decided here: failures.py looks them up last. Names and numbers are in refusals.py.
"""

from __future__ import annotations

import re

from understudy import Failure
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
    Timeout,
    UnsupportedRequest,
)

# What is said of reasoning items that cannot be used, without a code where other servers or the pairing refuse them:
# anomalyco/opencode#48773, and replies in public reports, read 2026-11-30.
UNUSABLE_REASONING = (
    "encrypted content",
    "`encrypted_content`",
    "of type 'reasoning' was provided without",
    "without its required 'reasoning' item",
    "items are not persisted when",
)


# The last resort: sentences of servers that give these a status and nothing else to tell them by. Each row: what the
# rest said, the sentences, what they mean; the first that fits counts. From public reports, read 2026-11-30: each
# sentence stands in test_openai_refusals.py with its server and its report.
_UNSURE = (RequestRefused, ServerError, PermissionDenied, ModelNotFound)
_SENTENCES: tuple[tuple[tuple[type[Failure], ...], tuple[str, ...], type[Failure]], ...] = (
    (
        (*_UNSURE, RateLimited),
        (
            r"content exists risk",  # DeepSeek
            r"content ?policy ?violation",  # LiteLLM
            r"content management policy",  # Azure
            r"responsible ?ai ?policy ?violation",
            r"data_?inspection_?failed|(may|might) contain inappropriate content",  # DashScope
            r"violates (our|openai's|the)? ?usage (guidelines|polic)",  # xAI, with status 403
            r"(input|prompt|request) was (flagged|rejected) (for|by|as a result|because it was considered high risk)",
            r"blocked by (our )?content filter",  # Anthropic's endpoint, Bedrock
            r"request blocked: |prompt injection patterns",  # OpenRouter's guardrails
            r"flagged by moderation|new_sensitive|safety system",
        ),
        ContentBlocked,
    ),
    (
        (*_UNSURE, RateLimited),
        (
            r"insufficient[ _](account )?(balance|credits?|funds)|balance_depleted|余额不足|欠费",
            r"(run out of|no usable|not enough|used all available|don't have enough|doesn't have any) credits?",
            r"credit balance is too low|credits? (are|is|have been) (depleted|exhausted)",
            r"monthly (spending|spend|usage) limit|monthly included credits|spending limit|spend limit",
            r"budget has been exceeded|exceeded ?budget|crossed budget|over budget",  # LiteLLM
            r"key limit exceeded|account is in good standing|overdue (balance|payment)",
            r"per[- ]day|perday|\b[rt]pd\b|daily (free )?(limit|quota|allocation)",
            r"(session|weekly|monthly|hourly) usage limit|usage limit reached for",  # Ollama's cloud, z.ai
            r"out of call volume quota",  # Azure's API management, with status 403
        ),
        QuotaExhausted,
    ),
    ((*_UNSURE, AuthenticationFailed), (r"额度(已用尽|不足)|user quota is not enough",), QuotaExhausted),  # new-api
    ((Overloaded,), (r"下.{0,60}无可用渠道|no available channel for model",), ModelNotFound),  # new-api, with 503
    (
        (RequestRefused, ServerError, RateLimited, Timeout),
        (
            r"overloaded|(at|over|out of) capacity|no capacity available|capacity (temporarily )?exceeded",
            r"degraded function cannot be invoked",  # NVIDIA, with status 400
            r"experiencing high traffic|queue_exceeded",  # Cerebras
        ),
        Overloaded,
    ),
    ((RateLimited,), ("request too large",), RequestTooLarge),
    (
        (RequestRefused, ServerError, QuotaExhausted),
        (r"rate[ _-]?limit(ed| is| was| exceeded| reached)", r"too many requests", r"throttlingexception"),
        RateLimited,
    ),
    (
        (*_UNSURE, RequestTooLarge, Overloaded),
        (
            r"maximum context length|context[ _]?(window|length|size|limit)|max_(model|seq)_len|n_ctx",
            r"(prompt|input) (is )?too long|prompt exceeds (the )?max(imum)? length",  # Fireworks, Bedrock, z.ai
            r"maximum prompt length|longer than the maximum model length",  # xAI, vLLM
            r"reduce the length of",  # Groq, vLLM
            r"range of input length",  # DashScope
            r"token count.{0,60}exceed|exceeds the maximum number of tokens|too many (input )?tokens",  # Google, SGLang
            r"exceed(ed|s)? (the )?(model|configured) (token )?limit|token limit exceeded",  # Moonshot
            r"input length.{0,60}exceed|exceeds the (limit of \d|maximum allowed input length)",  # Copilot, Poolside
            r"total (number of )?tokens.{0,60}exceed|max_new_tokens`? must be|inputs`? must have less than",  # TGI
            r"current length is \d+ while limit is",  # Cerebras
            r"too large for model with|max_tokens must be at least 1, got -",  # Mistral, vLLM
            r"payload size exceeds|request body too large|longer than the specified maximum sequence length",
            r"input is too large to process",  # llama.cpp
        ),
        ContextTooLong,
    ),
    (
        (*_UNSURE, AuthenticationFailed),
        (
            r"no endpoints (found|available) matching your",  # OpenRouter: the account's own rules
            r"location is not supported|not (available|supported) in your (country|region)|territory not supported",
            r"organization must be verified|requires terms acceptance|has not activated the model",
            r"gated|accept the (license|terms)",
        ),
        PermissionDenied,
    ),
    (
        (RequestRefused, ServerError, PermissionDenied),
        (
            r"api[ _-]?key (is )?(not valid|invalid|expired|not found)|api_key_invalid",  # Google, with status 400
            r"(incorrect|invalid|wrong) (api[ _-]?key|x-api-key|access token)",  # xAI, with status 400
        ),
        AuthenticationFailed,
    ),
    (
        _UNSURE,
        (
            r"(not|n't) support (tools?\b|tool[ _](use|calls?|calling)|functions?\b|function[ _]call)",  # Ollama
            r"support (tool use|image input|audio input|file input|video input)",  # OpenRouter, with status 404
            r"can handle the requested parameters|support the provided",
            r"(tool|function)[ _](use|calls?|calling) (is|are) (not|un)|unsupported param: tools|tools param requires",
            r"enable-auto-tool-choice",  # vLLM
            r"(not|n't) (yet )?support.{0,12} (image|vision|audio|video|pdf|file|document|multi-?modal)",
            r"(image|audio|video|file|vision)s?( input)? (is|are) not (supported|enabled)|not a multimodal model",
            r"at most \d+ (image|audio|video)|unknown variant `?(image_url|file|input_audio)|mmproj|projector can't",
            r"image (size )?(exceeds|is too large)|image dimensions exceed",
            r"message prefill|must end with a user message|expected last role user",  # Anthropic's models, Mistral
            r"prefill is incompatible|unknown role .?tool",  # llama.cpp, Snowflake
            r"expects a single `?text`? element|only support stream mode|not support chat\b",
        ),
        UnsupportedRequest,
    ),
    (
        (RequestRefused, ServerError),
        (
            r"model (does )?not exist|model not found|no such model|unknown model|is not a valid model",
            r"models? [`'\"]?[\w./:@-]+[`'\"]? (does not exist|(was |is )?not found)",
            r"model [`'\"]?[\w./:@-]+[`'\"]? is not (available|supported|deployed|a valid)",
            r"invalid model( name|:| ['\"`])|no models? (is )?loaded|non-serverless model",
            r"model.{0,80} has been (decommissioned|deprecated|retired)",
        ),
        ModelNotFound,
    ),
    (
        (RequestRefused, ServerError),
        (
            r"failed to (call a function|generate json|validate json)",  # Groq
            r"tool call validation failed",
            r"(error|failed to) pars(e|ing) (the )?(tool call|input at pos)",  # Ollama, llama.cpp
            r"model (generated|produced) (an )?(output|invalid content)",
        ),
        MalformedResponse,
    ),
    (
        (RequestRefused,),
        (
            r"model (has )?crashed|model (is |was )?unloaded|failed to load model|channel error",  # LM Studio
            r"enginecore encountered|enginedead|cuda (error|out of memory)",  # vLLM
        ),
        ServerError,
    ),
    ((RequestRefused,), (r"unsupported parameter", *map(re.escape, UNUSABLE_REASONING)), UnsupportedRequest),
    ((ModelNotFound,), tuple(map(re.escape, UNUSABLE_REASONING)), UnsupportedRequest),
)
OF_WORDS = tuple(
    (told, re.compile(sentence, re.IGNORECASE | re.DOTALL), meant)
    for told, sentences, meant in _SENTENCES
    for sentence in sentences
)
