"""The tables: names and numbers that OpenAI, and the servers that speak its API, refuse with. Words: sentences.py.

Nothing is decided here: failures.py looks things up from the most specific to the least.
"""

from __future__ import annotations

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
    # new-api and one-api: QuantumNous/new-api#667 and one-api, middleware/auth.go, read 2026-12-01.
    "insufficient_user_quota": QuotaExhausted,  # with status 403
    "pre_consume_token_quota_failed": QuotaExhausted,
    "sensitive_words_detected": ContentBlocked,
    "token_quota_exhausted": QuotaExhausted,
    # IBM's watsonx: langchain4j/langchain4j, WatsonxExceptionMapper, read 2026-12-01.
    "token_quota_reached": QuotaExhausted,  # with status 403
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
    "usage_limit_reached": QuotaExhausted,  # of a plan: earendil-works/pi#4172, read 2026-12-01
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
