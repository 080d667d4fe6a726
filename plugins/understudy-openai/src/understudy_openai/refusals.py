"""The tables: names and sentences that OpenAI, and the servers that speak its API, refuse with.

Nothing is decided here: failures.py looks things up from the most specific to the least.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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

Kinds = Mapping[str, type[Failure]]

# error.code, and the names that stand for one elsewhere (metadata.error_type, innererror.code, details[].reason), in
# lower case. OpenAI's page of error codes, and openai 3.54.0, types/responses/response_error.py; others are named.
OF_CODE: Kinds = {
    "account_deactivated": PermissionDenied,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "bio_policy": ContentBlocked,
    "content_policy_violation": ContentBlocked,
    "context_length_exceeded": ContextTooLong,
    "credit_balance_exhausted": QuotaExhausted,
    "data_residency_mismatch": PermissionDenied,
    "empty_image_file": RequestRefused,
    "failed_to_download_image": UnsupportedRequest,
    "image_content_policy_violation": ContentBlocked,
    "image_file_not_found": RequestRefused,
    "image_file_too_large": UnsupportedRequest,
    "image_parse_error": RequestRefused,
    "image_too_large": UnsupportedRequest,
    "image_too_small": UnsupportedRequest,
    "insufficient_quota": QuotaExhausted,
    "invalid_api_key": AuthenticationFailed,
    "invalid_base64_image": RequestRefused,
    "invalid_encrypted_content": UnsupportedRequest,  # openai/codex#13724: of another organization
    "invalid_image": RequestRefused,
    "invalid_image_format": UnsupportedRequest,
    "invalid_image_mode": UnsupportedRequest,
    "invalid_image_url": RequestRefused,
    "invalid_prompt": ContentBlocked,  # "flagged as potentially violating our usage policy"
    "misalignment_policy_violation": ContentBlocked,
    "model_not_found": ModelNotFound,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "rate_limit_exceeded": RateLimited,
    "server_error": ServerError,
    "server_is_overloaded": Overloaded,
    "slow_down": RateLimited,
    "string_above_max_length": ContextTooLong,
    "timeout": Timeout,
    "unsupported_country_region_territory": PermissionDenied,
    "unsupported_image_media_type": UnsupportedRequest,
    "unsupported_parameter": UnsupportedRequest,  # this model takes it not; another may
    "unsupported_value": UnsupportedRequest,
    "vector_store_timeout": Timeout,
    # Azure, and its API management: BerriAI/litellm#16231, openai/openai-dotnet#55, read 2026-11-30.
    "content_filter": ContentBlocked,
    "deploymentnotfound": ModelNotFound,
    "responsibleaipolicyviolation": ContentBlocked,
    # GitHub Models: tashfeenahmed/freellmapi#426, read 2026-11-30.
    "ratelimitreached": RateLimited,
    "tokens_limit_reached": ContextTooLong,
    "unavailable_model": ModelNotFound,
    "unknown_model": ModelNotFound,
    # Groq: console.groq.com/docs/errors and janhq/jan#8136, read 2026-11-30. The first three are the model's own fault.
    "json_validate_failed": MalformedResponse,
    "output_parse_failed": MalformedResponse,
    "tool_use_failed": MalformedResponse,
    "model_decommissioned": ModelNotFound,  # with status 400
    "model_not_active": ModelNotFound,
    "model_terms_required": PermissionDenied,
    "organization_restricted": PermissionDenied,
    # Cerebras: inference-docs.cerebras.ai/support/error and nminaya/grammar-nazi-bot#958, read 2026-11-30.
    "queue_exceeded": Overloaded,
    "request_quota_exceeded": RateLimited,
    "token_quota_exceeded": RateLimited,
    "wrong_api_key": AuthenticationFailed,
    # Together: HeyPuter/puter#3168, read 2026-11-30.
    "dedicated_endpoint_not_running": ModelNotFound,
    "dynamic_request_limited": RateLimited,
    "dynamic_token_limited": RateLimited,
    "model_not_available": ModelNotFound,
    # Alibaba's DashScope: help.aliyun.com/en/model-studio/error-code, read 2026-11-30; the compatible mode writes some
    # of them in OpenAI's way. A name with dots is looked up whole, then without its end.
    "accessdenied.unpurchased": QuotaExhausted,
    "allocationquota": QuotaExhausted,  # .FreeTierOnly, with status 403
    "arrearage": QuotaExhausted,
    "commoditynotpurchased": QuotaExhausted,
    "data_inspection_failed": ContentBlocked,
    "datainspectionfailed": ContentBlocked,
    "internalerror.timeout": Timeout,
    "invalidapikey": AuthenticationFailed,
    "limit_burst_rate": RateLimited,
    "limit_requests": RateLimited,
    "limitrequests": RateLimited,
    "model.accessdenied": PermissionDenied,
    "modelnotfound": ModelNotFound,
    "postpaidbilloverdue": QuotaExhausted,
    "prepaidbilloverdue": QuotaExhausted,
    "throttling": RateLimited,  # .RateQuota, .AllocationQuota: both last a minute
    "throttling.serviceoverloaded": Overloaded,
    # Volcengine Ark: www.volcengine.com/docs/82379/1299023, read 2026-11-30.
    "accountoverdueerror": QuotaExhausted,
    "authenticationerror": AuthenticationFailed,
    "inputimagesensitivecontentdetected": ContentBlocked,
    "inputtextriskdetection": ContentBlocked,
    "inputtextsensitivecontentdetected": ContentBlocked,
    "invalidendpoint.closedendpoint": Overloaded,
    "invalidendpointormodel": ModelNotFound,
    "modelnotopen": PermissionDenied,
    "outputtextriskdetection": ContentBlocked,
    "outputtextsensitivecontentdetected": ContentBlocked,
    "quotaexceeded": QuotaExhausted,
    "ratelimitexceeded": RateLimited,
    "sensitivecontentdetected": ContentBlocked,
    "serveroverloaded": Overloaded,
    "setlimitexceeded": QuotaExhausted,
    # OpenRouter's error.metadata.error_type and limit_source: openrouter.ai/docs/api/errors and OpenRouterTeam/docs,
    # api_reference/limits.mdx, read 2026-11-30. Those that the status tells as well are left out.
    "openrouter_credits": QuotaExhausted,
    "openrouter_free_tier_daily": QuotaExhausted,
    "openrouter_guardrail_budget": QuotaExhausted,
    "openrouter_in_flight_budget": RateLimited,  # with status 402 and a retry-after
    "openrouter_key_limit": QuotaExhausted,
    "openrouter_workspace_budget": QuotaExhausted,
    "payload_too_large": ContextTooLong,
    "payment_required": QuotaExhausted,
    "provider_overloaded": Overloaded,
    "provider_unavailable": ServerError,
    "refusal": ContentBlocked,
    "string_too_long": ContextTooLong,
    "token_limit_exceeded": QuotaExhausted,  # "a credit-based cap"
    "unsupported_image_format": UnsupportedRequest,
    # Google's ErrorInfo.reason, at its compatible endpoint: google/api/error_reason.proto, read 2026-11-30.
    "api_key_invalid": AuthenticationFailed,
    "api_key_service_blocked": PermissionDenied,
    "billing_disabled": QuotaExhausted,
    "model_capacity_exhausted": Overloaded,
    "service_disabled": PermissionDenied,
    # GitHub Copilot, Hugging Face, Venice and Novita: public code, veniceai/api-docs#149, novita.ai/docs/guides/error,
    # read 2026-11-30.
    "insufficient_balance": QuotaExhausted,
    "max_prompt_tokens_exceeded": ContextTooLong,
    "model_access_denied": PermissionDenied,
    "model_max_prompt_tokens_exceeded": ContextTooLong,
    "model_not_supported": ModelNotFound,
    # SiliconFlow: ErlichLiu/DeepClaude#111, read 2026-11-30.
    "20012": ModelNotFound,
    "30001": QuotaExhausted,
    "50505": Overloaded,
}

# Numbers that mean something at one server only, by how it is told: "errors" (Cloudflare), "base_resp" (MiniMax),
# "zai" (a text of four digits in an error without a type).
OF_NUMBER: Mapping[str, Kinds] = {
    # developers.cloudflare.com/workers-ai/platform/errors, read 2026-11-30.
    "errors": {
        "3006": ContextTooLong,
        "3007": Timeout,
        "3023": PermissionDenied,
        "3036": QuotaExhausted,
        "3040": Overloaded,
        "3041": PermissionDenied,
        "3042": ModelNotFound,
        "5007": ModelNotFound,
        "5016": PermissionDenied,
        "5018": PermissionDenied,
        "10000": AuthenticationFailed,
    },
    # platform.minimax.io, error codes, and MiniMax-AI/MiniMax-M2#62 and #119, read 2026-11-30.
    "base_resp": {
        "1001": Timeout,
        "1002": RateLimited,
        "1004": AuthenticationFailed,
        "1008": QuotaExhausted,
        "1026": ContentBlocked,
        "1027": ContentBlocked,
        "1039": RateLimited,
        "1041": RateLimited,
        "2013": RequestRefused,
        "2049": AuthenticationFailed,
        "2056": QuotaExhausted,
    },
    # docs.z.ai/api-reference/api-code and docs.bigmodel.cn/cn/api/api-code, read 2026-11-30.
    "zai": {
        **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), AuthenticationFailed),
        **dict.fromkeys(("1110", "1111", "1112", "1121", "1220", "1311"), PermissionDenied),
        "1113": QuotaExhausted,  # "Insufficient balance", with status 429
        "1120": ServerError,
        "1210": RequestRefused,
        "1211": ModelNotFound,
        "1212": UnsupportedRequest,
        "1213": RequestRefused,
        "1214": RequestRefused,
        "1215": RequestRefused,
        "1221": ModelNotFound,
        "1222": ModelNotFound,
        "1230": ServerError,
        "1234": ServerError,
        "1261": ContextTooLong,
        "1300": ContentBlocked,
        "1301": ContentBlocked,
        "1302": RateLimited,
        "1303": RateLimited,
        "1304": QuotaExhausted,
        "1305": Overloaded,  # also with status 200
        "1308": QuotaExhausted,
        "1309": QuotaExhausted,
        "1310": QuotaExhausted,
        "1312": Overloaded,
        "1313": RateLimited,
    },
}

# error.type, where it says more than the status does.
OF_TYPE: Kinds = {
    "arrearage": QuotaExhausted,  # DashScope
    "authentication_error": AuthenticationFailed,
    "authorized_error": AuthenticationFailed,  # MiniMax
    "budget_exceeded": QuotaExhausted,  # LiteLLM, with status 400 or 429: BerriAI/litellm#14144, read 2026-11-30
    "content_filter": ContentBlocked,  # Moonshot: platform.kimi.ai/docs/api/errors, read 2026-11-30
    "data_inspection_failed": ContentBlocked,  # DashScope
    "engine_overloaded_error": Overloaded,  # Moonshot, with status 429
    "exceed_context_size_error": ContextTooLong,  # llama.cpp
    "exceeded_current_quota_error": QuotaExhausted,  # Moonshot
    "incorrect_api_key_error": AuthenticationFailed,  # Moonshot
    "insufficient_balance_error": QuotaExhausted,  # MiniMax: modelscope/modelscope#1691, read 2026-11-30
    "insufficient_quota": QuotaExhausted,
    "invalid_authentication_error": AuthenticationFailed,  # Moonshot
    "invalid_model": ModelNotFound,  # Mistral, Perplexity, with status 400
    "overloaded": Overloaded,  # TGI
    "overloaded_error": Overloaded,
    "permission_denied_error": PermissionDenied,  # Moonshot
    "permission_error": PermissionDenied,
    "rate_limit_error": RateLimited,
    "rate_limit_reached_error": RateLimited,  # Moonshot
    "resource_not_found_error": ModelNotFound,  # Moonshot
    "server_error": ServerError,
    "service_tier_capacity_exceeded": Overloaded,  # Mistral: BerriAI/litellm#25078, read 2026-11-30
    "service_unavailable_error": Overloaded,
    "throttlingexception": RateLimited,  # Bedrock
    "timeout_error": Timeout,
    "too_many_requests_error": RateLimited,  # Cerebras
    "unavailable_error": Overloaded,  # llama.cpp, "Loading model"
}

# An error inside a stream, or in place of an answer, comes with status 200, so there these names have to do as well;
# any other one is the server's.
OF_NAME_IN_200: Kinds = {
    "bad_request_error": RequestRefused,
    "badrequest": RequestRefused,
    "badrequesterror": RequestRefused,
    "deadline_exceeded": Timeout,
    "failed_precondition": PermissionDenied,
    "forbidden": PermissionDenied,
    "invalid_argument": RequestRefused,
    "invalid_parameter_error": RequestRefused,
    "invalid_request": RequestRefused,
    "invalid_request_error": RequestRefused,
    "invalidparameter": RequestRefused,
    "not_found": ModelNotFound,
    "not_found_error": ModelNotFound,
    "notfounderror": ModelNotFound,
    "permission_denied": PermissionDenied,
    "rate_limited": RateLimited,
    "requests": RateLimited,
    "resource_exhausted": RateLimited,
    "tokens": RateLimited,
    "too_many_requests": RateLimited,
    "unauthenticated": AuthenticationFailed,
    "unavailable": Overloaded,
    "unprocessable": RequestRefused,
    "validation": RequestRefused,  # TGI
    "validation_error": RequestRefused,
}

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
        ),
        QuotaExhausted,
    ),
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
            r"maximum context length|context[ _]?(window|length|size|limit)|max_model_len|n_ctx",
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
