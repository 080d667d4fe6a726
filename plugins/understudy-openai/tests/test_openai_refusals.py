"""Refusals as public reports have them, server by server: each is typed, and one that can be mended says how."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from understudy_openai.failures import adaptation_of, error_in, failure_of_reply, told_limit
from understudy_openai.remedies import is_lasting, room_left

Form = tuple[int, Any, type[Failure]] | tuple[int, Any, type[Failure], str]


def _error(message: Any, code: Any = None, type_: Any = "invalid_request_error", param: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def _router(code: int, raw: Any = None, message: str = "Provider returned error", **metadata: Any) -> dict[str, Any]:
    more = {"raw": raw, "provider_name": "X"} if raw is not None else {}
    return {"error": {"message": message, "code": code, "metadata": {**more, **metadata}}, "user_id": "user_1"}


def _google(code: int, status: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def _extra(*place: Any) -> dict[str, Any]:
    return {"detail": [{"type": "extra_forbidden", "loc": list(place), "msg": "Extra inputs are not permitted"}]}


def _vllm(message: str, code: int = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}


_TEMPLATE = "Error: Jinja Exception: After the optional system message, conversation roles must alternate user and"
_SIGNATURE = "Function call is missing a thought_signature in functionCall parts."

# Status, body, what it is, and how the same model may answer after all. Every sentence is from a public report or a
# reference, read 2026-11-30; the repository and its number, or the reference, stands above the first form of each.
FORMS: dict[str, list[Form]] = {
    # continuedev/continue#11009, BerriAI/litellm (get_error_message), openai.com's page of error codes
    "OpenAI": [
        (429, _error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), QuotaExhausted),
        (400, _error("Invalid 'temperature': decimal above maximum value.", "decimal_above_max_value"), RequestRefused),
        (
            400,
            _error("max_tokens is too large: 99999. This model supports at most 16384 completion tokens"),
            UnsupportedRequest,
            "with a limit of at most 16384",
        ),
        (
            400,
            _error(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                "unsupported_parameter",
                param="max_tokens",
            ),
            UnsupportedRequest,
            "with max_completion_tokens",
        ),
        (
            400,
            _error("Unrecognized request argument supplied: parallel_tool_calls"),
            UnsupportedRequest,
            "without parallel_tool_calls",
        ),
        (
            400,
            _error(
                "'messages[0].role' does not support 'system' with this model.",
                "unsupported_value",
                param="messages[0].role",
            ),
            UnsupportedRequest,
            "without a system role",
        ),
        (
            400,
            _error(
                "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required "
                "to be supplied and to be false.",
                None,
                param="response_format",
            ),
            UnsupportedRequest,
            "without strict",
        ),
        (
            400,
            _error("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
            UnsupportedRequest,
            "in JSON mode",
        ),
        (404, _error("Your organization must be verified to use this model.", "model_not_found"), PermissionDenied),
    ],
    # openai/openai-dotnet#55, BerriAI/litellm#16231, learn.microsoft.com
    "Azure": [
        (400, {"error": {"code": "content_filter", "message": None, "innererror": {"code": "x"}}}, ContentBlocked),
        (
            400,
            {
                "error": {
                    "message": "The response was filtered due to the prompt",
                    "type": None,
                    "param": "prompt",
                    "code": "400",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            ContentBlocked,
        ),
        (
            400,
            _error(
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value "
                "is supported.",
                "unsupported_value",
                param="temperature",
            ),
            UnsupportedRequest,
            "without temperature",
        ),
        (
            400,
            _error(
                "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later"
            ),
            UnsupportedRequest,
            "in JSON mode",
        ),
        (401, {"statusCode": 401, "message": "Access denied due to invalid subscription key."}, AuthenticationFailed),
        (
            404,
            {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
            ModelNotFound,
        ),
        (429, {"error": {"code": "RateLimitReached", "message": "Please retry after 34 seconds."}}, RateLimited),
    ],
    # console.groq.com/docs/errors; janhq/jan#8136; Alishahryar1/free-claude-code#1348; skapadia3214/groq-moa#8
    "Groq": [
        (400, _error("Failed to call a function. Please adjust your prompt.", "tool_use_failed"), MalformedResponse),
        (400, _error("Failed to generate JSON.", "json_validate_failed"), MalformedResponse),
        (400, _error("Failed to validate JSON. Please adjust your prompt."), MalformedResponse),
        (400, _error("The model `x` has been decommissioned", "model_decommissioned"), ModelNotFound),
        (400, _error("Organization has been restricted.", "organization_restricted"), PermissionDenied),
        (400, _error("The model `x` requires terms acceptance.", "model_terms_required"), PermissionDenied),
        (400, _error("Please reduce the length of the messages or completion."), ContextTooLong),
        (
            413,
            _error("Request too large for model `x` on tokens per minute (TPM)", "rate_limit_exceeded", "tokens"),
            RequestTooLarge,
        ),
        (
            429,
            _error(
                "Rate limit reached for model `x` on tokens per day (TPD): Limit 100000.",
                "rate_limit_exceeded",
                "tokens",
            ),
            QuotaExhausted,
        ),
        (
            400,
            _error(
                "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property "
                "'reasoning_content' is unsupported)]"
            ),
            UnsupportedRequest,
            "without reasoning in messages",
        ),
        (
            400,
            _error("`reasoning_effort` must be one of `none` or `default`"),
            UnsupportedRequest,
            "without reasoning_effort",
        ),
        (400, _error("This model does not support response format `json_schema`."), UnsupportedRequest, "in JSON mode"),
        (
            400,
            _error("json mode cannot be combined with tool/function calling"),
            UnsupportedRequest,
            "without a response format",
        ),
        (
            400,
            _error("max_tokens for `x` must be less than or equal to 8000"),
            UnsupportedRequest,
            "with a limit of at most 8000",
        ),
        (403, {"error": {"message": "Forbidden"}}, PermissionDenied),
    ],
    # editor-code-assistant/eca#231, partITech/php-mistral#76, mistralai/platform-docs-public#7, Gitlawb/openclaude#739
    "Mistral": [
        (
            422,
            {"object": "error", "message": _extra("body", "max_completion_tokens"), "type": "invalid_request_error"},
            UnsupportedRequest,
            "with max_tokens",
        ),
        (
            422,
            {"object": "error", "message": json.dumps(_extra("body", "frequency_penalty")), "code": "1000"},
            UnsupportedRequest,
            "without frequency_penalty",
        ),
        (422, _extra("body", "store"), UnsupportedRequest, "without store"),
        (
            422,
            _extra("body", "messages", 3, "assistant", "reasoning_content"),
            UnsupportedRequest,
            "without reasoning in messages",
        ),
        (422, {"object": "Error", "message": _extra("body", "x")["detail"], "code": 3001}, RequestRefused),
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
            ModelNotFound,
        ),
        (
            400,
            {
                "object": "error",
                "message": "Prompt contains 9000 tokens, too large for model with 8192 maximum context length",
                "type": "invalid_request_error",
                "code": "3051",
            },
            ContextTooLong,
        ),
        (
            429,
            {
                "object": "error",
                "message": "Rate limit exceeded",
                "type": "rate_limited",
                "code": "1300",
                "raw_status_code": 429,
            },
            RateLimited,
        ),
        (
            429,
            {
                "object": "error",
                "message": "Service tier capacity exceeded for this model.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
            Overloaded,
        ),
        (
            429,
            {"object": "error", "type": "service_tier_capacity_exceeded", "code": "3505", "message": "x"},
            Overloaded,
        ),
    ],
    # diegosouzapw/OmniRoute#3044, open-webui/computer#293, crmne/ruby_llm#431, reVrost/go-openrouter#21,
    # OpenRouterTeam/docs, zed-industries/zed#36094, farion1231/cc-switch#464, Gitlawb/openclaude#1125
    "OpenRouter": [
        (
            400,
            _router(
                400,
                '{"error":{"type":"invalid_request_error","code":"invalid_request_error","message":"Model '
                "'x' supports at most 1 image per prompt.\"}}",
            ),
            UnsupportedRequest,
        ),
        (
            403,
            _router(403, '{"error":{"code":"unsupported_country_region_territory","message":"Not supported"}}'),
            PermissionDenied,
        ),
        (
            400,
            _router(
                400,
                '{"error":{"message":"Unsupported parameter: \'temperature\'","param":"temperature","code":'
                '"unsupported_parameter"}}',
            ),
            UnsupportedRequest,
            "without temperature",
        ),
        (
            400,
            _router(400, {"error": {"code": 400, "message": _SIGNATURE, "status": "INVALID_ARGUMENT"}}),
            UnsupportedRequest,
            "with dummy thought signatures",
        ),
        (
            400,
            _router(
                400,
                '{"error":{"message":"Response input messages must contain the word \'json\' in some form '
                "to use 'text.format' of type 'json_object'.\"}}",
            ),
            UnsupportedRequest,
            "without a response format",
        ),
        (
            400,
            _router(
                400,
                '{"error":{"code":"400","message":"Param Incorrect","param":"messages[2] assistant content '
                'must be a string","type":""}}',
            ),
            UnsupportedRequest,
            "with each content as one text",
        ),
        (400, _router(400, "prompt is too long: 213462 tokens > 200000 maximum"), ContextTooLong),
        (429, _router(429, "x is temporarily rate-limited upstream. Please retry shortly"), RateLimited),
        (429, _router(429, message="Rate limit exceeded: free-models-per-day. Add 10 credits"), QuotaExhausted),
        (429, _router(429, message="Rate limit exceeded", error_type="rate_limit_exceeded"), RateLimited),
        (402, _router(402, message="Insufficient credits"), QuotaExhausted),
        (402, _router(402, message="x", limit_source="openrouter_in_flight_budget"), RateLimited),
        (
            402,
            _router(
                402,
                message="This request requires more credits, or fewer max_tokens. You requested up to 1024 "
                "tokens, but can only afford 900.",
            ),
            QuotaExhausted,
            "with room left for at most 900",
        ),
        (402, _router(402, message="You requested up to 1024 tokens, but can only afford 12."), QuotaExhausted),
        (
            403,
            _router(
                403, message="x requires moderation. Your input was flagged", reasons=["violence"], flagged_input="..."
            ),
            ContentBlocked,
        ),
        (
            403,
            _router(403, message="Request blocked: prompt injection patterns detected", patterns=["x"]),
            ContentBlocked,
        ),
        (403, _router(403, message="Key limit exceeded (monthly limit)."), QuotaExhausted),
        (404, _router(404, message="No endpoints found that support tool use."), UnsupportedRequest),
        (404, _router(404, message="No endpoints found that support image input"), UnsupportedRequest),
        (
            404,
            _router(404, message="No endpoints found that support the provided 'tool_choice' value."),
            UnsupportedRequest,
            "without a forced tool",
        ),
        (404, _router(404, message="No endpoints found matching your data policy."), PermissionDenied),
        (404, _router(404, message="No endpoints found for x/y:free."), ModelNotFound),
        (400, _router(400, message="x/y is not a valid model ID"), ModelNotFound),
        (502, _router(502, message="Provider returned error", error_type="provider_overloaded"), Overloaded),
    ],
    # HeyPuter/puter#3168, docs.together.ai/docs/error-codes
    "Together": [
        (400, _error("Unable to access non-serverless model x.", "model_not_available"), ModelNotFound),
        (400, _error("The dedicated endpoint for x is not running.", "dedicated_endpoint_not_running"), ModelNotFound),
        (
            400,
            {"status": "failure", "error": {"message": "together-ai error: Unable to access non-serverless model x"}},
            ModelNotFound,
        ),
        (
            422,
            _error(
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 7500 `inputs` "
                "tokens and 1024 `max_new_tokens`"
            ),
            ContextTooLong,
            "with room left for at most 693",
        ),
        (429, _error("Slow down", "dynamic_request_limited", "rate_limit"), RateLimited),
    ],
    # 666ghj/BettaFish#108, sipeed/picoclaw#1102, evalstate/fast-agent#621, api-docs.deepseek.com
    "DeepSeek": [
        (400, _error("Content Exists Risk", "invalid_request_error"), ContentBlocked),
        (400, {"detail": "Content Exists Risk"}, ContentBlocked),
        (400, _error("Model Not Exist", "invalid_request_error"), ModelNotFound),
        (
            400,
            _error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", "invalid_request_error"),
            UnsupportedRequest,
            "with a limit of at most 8192",
        ),
        (
            400,
            _error("This response_format type is unavailable now", "invalid_request_error"),
            UnsupportedRequest,
            "in JSON mode",
        ),
        (
            400,
            _error("The `reasoning_content` in the thinking mode must be passed back to the API."),
            UnsupportedRequest,
            "with reasoning_content in every message",
        ),
        (
            400,
            _error("deepseek-reasoner does not support this tool_choice"),
            UnsupportedRequest,
            "without a forced tool",
        ),
        (400, _error("deepseek-reasoner does not support Function Calling"), UnsupportedRequest),
        (400, _error("unknown variant `image_url`, expected `text`"), UnsupportedRequest),
        (
            400,
            _error(
                "This model's maximum context length is 131072 tokens. However, you requested 131134 tokens "
                "(122942 in the messages, 8192 in the completion).",
                "invalid_request_error",
            ),
            ContextTooLong,
            "with room left for at most 8130",
        ),
        (402, _error("Insufficient Balance", "invalid_request_error", "unknown_error"), QuotaExhausted),
        (401, _error("Authentication Fails", "invalid_request_error", "authentication_error"), AuthenticationFailed),
    ],
    # yym68686/uni-api#105, charmbracelet/crush#386, miaoxworld/NativeTavern#83, UKGovernmentBEIS/inspect_ai#2267,
    # continuedev/continue#10373 and #12670, nocmt/LLMSearchPlus#2
    "xAI": [
        (
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Argument not supported on this model: presencePenalty",
            },
            UnsupportedRequest,
            "without presence_penalty",
        ),
        (
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Argument not supported on this model: reasoningEffort",
            },
            UnsupportedRequest,
            "without reasoning_effort",
        ),
        (
            400,
            {"code": "x", "error": "Model grok-x does not support parameter presencePenalty."},
            UnsupportedRequest,
            "without presence_penalty",
        ),
        (
            400,
            {"code": "x", "error": "Incorrect API key provided: xx. You can obtain an API key"},
            AuthenticationFailed,
        ),
        (
            400,
            {
                "code": "x",
                "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            },
            ContextTooLong,
        ),
        (400, {"code": "x", "error": "The model expects a single `text` element per message."}, UnsupportedRequest),
        (
            403,
            {
                "code": "The caller does not have permission to execute the specified operation",
                "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
            },
            ContentBlocked,
        ),
        (
            403,
            {"code": "x", "error": "Your newly created team doesn't have any credits or licenses yet."},
            QuotaExhausted,
        ),
        (403, {"code": "x", "error": "You have run out of credits or need a Grok subscription."}, QuotaExhausted),
        (403, {"code": "permission-denied", "error": "Access to the chat endpoint is denied"}, PermissionDenied),
        (404, {"code": "Some requested entity was not found", "error": "The model x does not exist"}, ModelNotFound),
        (
            429,
            {
                "code": "Some resource has been exhausted",
                "error": "Your team x has either used all available credits or reached its monthly spending limit.",
            },
            QuotaExhausted,
        ),
    ],
    # countbot-ai/CountBot#61, anomalyco/opencode (overflow patterns), platform.kimi.ai
    "Moonshot": [
        (
            400,
            {
                "error": {
                    "message": "invalid temperature: only 1 is allowed for this model",
                    "type": "invalid_request_error",
                }
            },
            UnsupportedRequest,
            "without temperature",
        ),
        (
            400,
            {"error": {"message": "invalid top_p: only 0.95 is allowed for this model", "type": "x"}},
            UnsupportedRequest,
            "without top_p",
        ),
        (
            400,
            _error("thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"),
            UnsupportedRequest,
            "with reasoning_content in every message",
        ),
        (
            400,
            _error("tool_choice 'specified' is incompatible with thinking enabled"),
            UnsupportedRequest,
            "without a forced tool",
        ),
        (400, _error("Invalid request: Your request exceeded model token limit: 262144"), ContextTooLong),
        (
            400,
            _error("The request was rejected because it was considered high risk", None, "content_filter"),
            ContentBlocked,
        ),
        (429, _error("The engine is currently overloaded", None, "engine_overloaded_error"), Overloaded),
        (429, _error("Your account is suspended", None, "exceeded_current_quota_error"), QuotaExhausted),
        (429, _error("max RPM: 3", None, "rate_limit_reached_error"), RateLimited),
        (401, _error("Invalid Authentication", None, "invalid_authentication_error"), AuthenticationFailed),
    ],
    # OpenBMB/UltraRAG#287, musistudio/claude-code-router#948, agentscope-ai/QwenPaw#6255,
    # LLM-Red-Team/qwen-free-api#23, can1357/oh-my-pi#8476, help.aliyun.com/en/model-studio/error-code
    "DashScope": [
        (
            400,
            _error("parameter.enable_thinking must be set to false for non-streaming calls", "invalid_parameter_error"),
            UnsupportedRequest,
            "without thinking",
        ),
        (
            400,
            _error("enable thinking can not be support when `stream=False`.", "invalid_parameter_error"),
            UnsupportedRequest,
            "without thinking",
        ),
        (
            400,
            _error(
                "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set "
                "to required or object in thinking mode"
            ),
            UnsupportedRequest,
            "without a forced tool",
        ),
        (
            400,
            _error(
                "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 983616]",
                "invalid_parameter_error",
            ),
            ContextTooLong,
        ),
        (
            400,
            {"code": "InvalidParameter", "message": "Range of input length should be [1, 6000]", "request_id": "r"},
            ContextTooLong,
        ),
        (400, _error("Range of max_tokens should be [1, 8192]"), UnsupportedRequest, "with a limit of at most 8192"),
        (400, _error("Input data may contain inappropriate content.", "data_inspection_failed"), ContentBlocked),
        (400, {"code": "DataInspectionFailed", "message": "x", "request_id": "r"}, ContentBlocked),
        (
            400,
            _error("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"),
            QuotaExhausted,
        ),
        (403, {"code": "AllocationQuota.FreeTierOnly", "message": "x"}, QuotaExhausted),
        (404, _error("The model `x` does not exist", "model_not_found"), ModelNotFound),
        (429, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, RateLimited),
        (
            429,
            _error(
                "You exceeded your current quota. For details, see https://x/model-studio/error-code#token-limit",
                "insufficient_quota",
                "insufficient_quota",
            ),
            RateLimited,
        ),
        (500, {"code": "InternalError.Timeout", "message": "x"}, Timeout),
        (200, {"code": "InternalError", "message": "boom", "request_id": "r"}, ServerError),
    ],
    # MiniMax-AI/MiniMax-M2#62 and #119, modelscope/modelscope#1691, rowboatlabs/rowboat#514
    "MiniMax": [
        (
            500,
            {"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}},
            QuotaExhausted,
        ),
        (
            429,
            {
                "error": {
                    "http_code": "429",
                    "message": "insufficient balance (1008)",
                    "type": "insufficient_balance_error",
                }
            },
            QuotaExhausted,
        ),
        (
            400,
            {
                "type": "error",
                "error": {
                    "type": "bad_request_error",
                    "message": "invalid params, context window exceeds limit (2013)",
                    "http_code": "400",
                },
            },
            ContextTooLong,
        ),
        (
            200,
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            QuotaExhausted,
        ),
        (200, {"base_resp": {"status_code": 1002, "status_msg": "x"}}, RateLimited),
        (200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, AuthenticationFailed),
        (200, {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}, ContentBlocked),
        (200, {"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}, RequestRefused),
    ],
    # macanderson/stella#2, kaitranntt/ccs#402, zeroclaw-labs/zeroclaw#4124, zhushanwen321/llm-simple-router#95,
    # zai-org/feedback#789, docs.z.ai/api-reference/api-code
    "z.AI": [
        (429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package."}}, QuotaExhausted),
        (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, QuotaExhausted),
        (
            429,
            {
                "type": "error",
                "error": {
                    "type": "rate_limit_error",
                    "code": "1113",
                    "message": "[1113][Insufficient balance or no resource package. Please recharge.]",
                },
            },
            QuotaExhausted,
        ),
        (429, {"error": {"code": "1302", "message": "High concurrency usage of this API"}}, RateLimited),
        (200, {"error": {"code": "1305", "message": "x"}}, Overloaded),
        (429, {"error": {"code": "1308", "message": "Usage limit reached for 5 hour."}}, QuotaExhausted),
        (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, ContextTooLong),
        (400, {"error": {"code": "1211", "message": "x"}}, ModelNotFound),
        (400, {"error": {"code": "1301", "message": "x"}}, ContentBlocked),
        (401, {"error": {"code": "1002", "message": "x"}}, AuthenticationFailed),
    ],
    # pollinations/pollinations#12136, amd/gaia#3766, docs.fireworks.ai
    "Fireworks": [
        (
            412,
            {
                "error": {
                    "message": "Account x is suspended, possibly due to reaching the monthly spending limit or "
                    "failure to pay past invoices.",
                    "code": "PRECONDITION_FAILED",
                    "type": "error",
                }
            },
            QuotaExhausted,
        ),
        (400, _error("The prompt is too long: 10000, model maximum context length: 4096"), ContextTooLong),
        (
            400,
            _error("Extra inputs are not permitted, field: 'store', value: False"),
            UnsupportedRequest,
            "without store",
        ),
        (
            400,
            {
                "error": {
                    "message": "cloud (fireworks) request failed",
                    "details": {
                        "status_code": 412,
                        "response": {
                            "error": {
                                "message": "Account x is suspended, possibly due to reaching the monthly spending limit"
                            }
                        },
                    },
                }
            },
            QuotaExhausted,
        ),
    ],
    # nminaya/grammar-nazi-bot#958, Kilo-Org/kilocode#10375, QwenLM/qwen-code#646, inference-docs.cerebras.ai
    "Cerebras": [
        (
            400,
            {
                "message": "messages.2.assistant.reasoning_content: property 'messages.2.assistant.reasoning_content' is "
                "unsupported",
                "type": "invalid_request_error",
                "param": "validation_error",
                "code": "wrong_api_format",
            },
            UnsupportedRequest,
            "without reasoning in messages",
        ),
        (
            400,
            {
                "message": "Please reduce the length of the messages or completion. Current length is 9000 while limit "
                "is 8192",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            },
            ContextTooLong,
        ),
        (
            400,
            {"message": "Tools with mixed values for 'strict' are not allowed.", "code": "wrong_api_format"},
            UnsupportedRequest,
            "without strict",
        ),
        (400, "", RequestRefused),
        (
            401,
            {"message": "Wrong API Key", "type": "invalid_request_error", "code": "wrong_api_key"},
            AuthenticationFailed,
        ),
        (
            429,
            {
                "message": "Requests per minute limit exceeded",
                "type": "too_many_requests_error",
                "param": "quota",
                "code": "request_quota_exceeded",
            },
            RateLimited,
        ),
        (
            429,
            {
                "message": "We're experiencing high traffic right now!",
                "type": "too_many_requests_error",
                "param": "queue",
                "code": "queue_exceeded",
            },
            Overloaded,
        ),
    ],
    # FoundationAgents/OpenManus#803, continuedev/continue#11336 and #9251, ai.google.dev
    "Gemini's": [
        (
            400,
            _google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            AuthenticationFailed,
        ),
        (400, _google(400, "INVALID_ARGUMENT", "x", {"reason": "API_KEY_INVALID"}), AuthenticationFailed),
        (400, _google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), PermissionDenied),
        (
            400,
            _google(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
            UnsupportedRequest,
            "without seed",
        ),
        (400, _google(400, "INVALID_ARGUMENT", _SIGNATURE), UnsupportedRequest, "with dummy thought signatures"),
        (
            400,
            _google(
                400, "INVALID_ARGUMENT", "Function calling with a response mime type: 'application/json' is unsupported"
            ),
            UnsupportedRequest,
            "without a response format",
        ),
        (
            400,
            _google(400, "INVALID_ARGUMENT", "Developer instruction is not enabled for models/gemma-3-27b-it"),
            UnsupportedRequest,
            "without a system role",
        ),
        (
            400,
            _google(
                400,
                "INVALID_ARGUMENT",
                "The specified schema produces a constraint that has too many states for serving.",
            ),
            UnsupportedRequest,
            "in JSON mode",
        ),
        (
            400,
            _google(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            ),
            ContextTooLong,
        ),
        (404, _google(404, "NOT_FOUND", "models/x is not found for API version v1main"), ModelNotFound),
        (
            429,
            _google(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota",
                {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
            ),
            QuotaExhausted,
        ),
        (
            429,
            _google(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota",
                {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]},
            ),
            RateLimited,
        ),
        (503, _google(503, "UNAVAILABLE", "The model is overloaded."), Overloaded),
        (200, _google(503, "UNAVAILABLE", "The model is overloaded."), Overloaded),
    ],
    # platform.claude.com, its OpenAI SDK compatibility and errors
    "Anthropic's": [
        (400, _error("prompt is too long: 213462 tokens > 200000 maximum", "invalid_request_error"), ContextTooLong),
        (400, _error("Your credit balance is too low to access the Anthropic API.", None), QuotaExhausted),
        (400, _error("`temperature` is deprecated for this model."), UnsupportedRequest, "without temperature"),
        (
            400,
            _error("`temperature` and `top_p` cannot both be specified for this model."),
            UnsupportedRequest,
            "without top_p",
        ),
        (
            400,
            _error("max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for x"),
            UnsupportedRequest,
            "with a limit of at most 64000",
        ),
        (
            400,
            _error("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
            ContextTooLong,
            "with room left for at most 11760",
        ),
        (400, _error("Output blocked by content filtering policy"), ContentBlocked),
        (400, _error("image exceeds 5 MB maximum: 5511796 bytes > 5242880 bytes"), UnsupportedRequest),
        (529, _error("Overloaded", None, "overloaded_error"), Overloaded),
    ],
    # vllm-project/vllm#4667 and #20409, hidenobunagai/nvidia-nim-provider#2, microsoft/autogen#1037
    "vLLM": [
        (
            400,
            _vllm('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
            UnsupportedRequest,
        ),
        (400, _vllm("max_tokens must be at least 1, got -186."), ContextTooLong),
        (
            400,
            _vllm(
                "This model's maximum context length is 16384 tokens. However, you requested 17000 tokens (16000 in "
                "the messages, 1000 in the completion)."
            ),
            ContextTooLong,
        ),
        (
            400,
            _vllm(
                "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum context length is "
                "4096 tokens and your request has 3200 input tokens (1024 > 4096 - 3200)."
            ),
            ContextTooLong,
            "with room left for at most 896",
        ),
        (
            400,
            _vllm("Conversation roles must alternate user/assistant/user/assistant/..."),
            UnsupportedRequest,
            "with messages of one role joined",
        ),
        (400, _vllm("System role not supported"), UnsupportedRequest, "without a system role"),
        (400, _vllm("x is not a multimodal model"), UnsupportedRequest),
        (400, _vllm("At most 1 image(s) may be provided in one prompt."), UnsupportedRequest),
        (
            400,
            _vllm('can only concatenate str (not "list") to str'),
            UnsupportedRequest,
            "with each content as one text",
        ),
        (
            400,
            _vllm("This model only supports single tool-calls at once!"),
            UnsupportedRequest,
            "one tool call at a time",
        ),
        (
            404,
            {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
            ModelNotFound,
        ),
        (200, _vllm("EngineCore encountered an issue.", 500), ServerError),
        (
            400,
            {
                "msg": "Token indices sequence length is longer than the specified maximum sequence length for this "
                "model!"
            },
            ContextTooLong,
        ),
    ],
    # pi's overflow patterns in earendil-works/pi; sgl-project/sglang, serving_chat.py
    "SGLang": [
        (
            400,
            _vllm(
                "Requested token count exceeds the model's maximum context length of 131072 tokens. You requested a "
                "total of 136000 tokens: 130000 tokens from the input messages and 6000 tokens for the completion."
            ),
            ContextTooLong,
        ),
        (
            400,
            _vllm("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
            ContextTooLong,
        ),
        (400, _vllm("Input length (265330) exceeds model's maximum context length (262144)."), ContextTooLong),
    ],
    # ggml-org/llama.cpp#10920 and #13566, defilantech/LLMKube#126, mistralai/mistral-vibe#1006, NousResearch/hermes-agent
    "llama.cpp": [
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size, try increasing it",
                    "type": "invalid_request_error",
                }
            },
            ContextTooLong,
        ),
        (
            400,
            {"error": {"code": 400, "message": "x", "type": "exceed_context_size_error", "n_ctx": 9}},
            ContextTooLong,
        ),
        (200, {"code": 400, "message": "the request exceeds the available context size", "type": "x"}, ContextTooLong),
        (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, Overloaded),
        (500, {"code": 500, "message": "Unsupported param: tools", "type": "server_error"}, UnsupportedRequest),
        (
            500,
            {"error": {"code": 500, "message": "tools param requires --jinja flag", "type": "server_error"}},
            UnsupportedRequest,
        ),
        (
            500,
            {"error": {"code": 500, "message": "image input is not supported by this server", "type": "server_error"}},
            UnsupportedRequest,
        ),
        (
            500,
            {
                "error": {
                    "code": 500,
                    "message": f"\n------------\nWhile executing CallExpression...\n{_TEMPLATE}",
                    "type": "server_error",
                }
            },
            UnsupportedRequest,
            "with messages of one role joined",
        ),
        (
            500,
            {
                "error": {
                    "code": 500,
                    "message": "Only user, assistant and tool roles are supported, got system.",
                    "type": "server_error",
                }
            },
            UnsupportedRequest,
            "without a system role",
        ),
        (
            500,
            {"error": {"code": 500, "message": "input is too large to process. increase the physical batch size"}},
            ContextTooLong,
        ),
        (
            400,
            {"error": {"code": 400, "message": "failed to initialize samplers: failed to parse grammar"}},
            UnsupportedRequest,
            "in JSON mode",
        ),
    ],
    # lmstudio-ai/lmstudio-bug-tracker#670, canopyai/Orpheus-TTS#229, charmbracelet/crush#2546
    "LM Studio": [
        (
            400,
            {
                "error": "The number of tokens to keep from the initial prompt is greater than the context length "
                "(n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length."
            },
            ContextTooLong,
        ),
        (
            400,
            {"error": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"},
            UnsupportedRequest,
            "without a forced tool",
        ),
        (
            400,
            {"error": "'response_format.type' must be 'json_schema' or 'text'"},
            UnsupportedRequest,
            "with a JSON schema",
        ),
        (404, _error("No models loaded. Please load a model.", "model_not_found", param="model"), ModelNotFound),
        (400, {"error": 'Failed to load model "x". Error: Operation canceled.'}, ServerError),
        (400, {"error": "The model has crashed without additional information. (Exit code: 6)"}, ServerError),
    ],
    # huggingface/text-generation-inference, its router's errors; huggingface.co/docs/inference-providers
    "TGI": [
        (
            422,
            {
                "error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
                "error_type": "validation",
            },
            ContextTooLong,
        ),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, Overloaded),
        (200, {"error": "Input validation error: x", "error_type": "validation"}, RequestRefused),
        (402, {"error": "You have exceeded your monthly included credits for Inference Providers."}, QuotaExhausted),
        (400, {"error": ["The model x is not supported"]}, ModelNotFound),
        (503, {"error": "Model x is currently loading", "estimated_time": 20.0}, Overloaded),
    ],
    # BerriAI/litellm#14144, #12324 and #9035
    "LiteLLM": [
        (400, _error("litellm.ContextWindowExceededError: x", "400", None), ContextTooLong),
        (
            400,
            _error("litellm.UnsupportedParamsError: x does not support parameters: ['parallel_tool_calls']", "400"),
            UnsupportedRequest,
            "without parallel_tool_calls",
        ),
        (
            400,
            _error("Budget has been exceeded! Current cost: 26.075, Max budget: 0.25", "400", "budget_exceeded"),
            QuotaExhausted,
        ),
        (
            429,
            _error("No deployments available - crossed budget: Exceeded budget for deployment", "429", None),
            QuotaExhausted,
        ),
        (429, _error("No deployments available for selected model, Try again in 5 seconds.", "429", None), RateLimited),
        (
            400,
            {"error": {"message": "/chat/completions: Invalid model name passed in model=x", "code": "400"}},
            ModelNotFound,
        ),
        (
            412,
            _error(
                'litellm.APIError: Fireworks_aiException - {"error":{"message":"Account x is suspended, possibly '
                'due to reaching the monthly spending limit","code":"PRECONDITION_FAILED"}}. Received Model '
                "Group=x",
                "412",
                None,
            ),
            QuotaExhausted,
        ),
        (
            400,
            {
                "error": {
                    "message": "litellm.ContentPolicyViolationError: AzureException",
                    "code": "400",
                    "provider_specific_fields": {"innererror": {"code": "ResponsibleAIPolicyViolation"}},
                }
            },
            ContentBlocked,
        ),
    ],
    # ollama/ollama#6027, github/app#2140, continuedev/continue#11444
    "Ollama's /v1": [
        (400, _error("registry.ollama.ai/library/x does not support tools", None, "api_error"), UnsupportedRequest),
        (400, _error("invalid message content type: <nil>"), UnsupportedRequest, "with each content as one text"),
        (404, _error('model "x" not found, try pulling it first', None, "api_error"), ModelNotFound),
        (429, {"error": "you (x) have reached your session usage limit, upgrade for higher limits"}, QuotaExhausted),
        (500, _error("error parsing tool call: raw='x'", None, "api_error"), MalformedResponse),
    ],
    # docs.perplexity.ai
    "Perplexity": [
        (
            400,
            _error(
                "After the (optional) system message(s), user or tool message(s) should alternate with assistant "
                "message(s).",
                400,
                "invalid_message",
            ),
            UnsupportedRequest,
            "with messages of one role joined",
        ),
        (
            400,
            _error("Invalid model 'x'. Permitted models can be found in the documentation", 400, "invalid_model"),
            ModelNotFound,
        ),
        (401, "<html><head><title>401 Authorization Required</title></head></html>", AuthenticationFailed),
    ],
    # docs.aws.amazon.com, Bedrock's Chat Completions; earendil-works/pi, overflow.ts
    "Bedrock's": [
        (400, {"message": "Input is too long for requested model."}, ContextTooLong),
        (
            429,
            {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."},
            RateLimited,
        ),
        (403, {"message": "Authentication failed: Please make sure your API Key is valid."}, PermissionDenied),
    ],
    # developers.cloudflare.com/workers-ai/platform/errors
    "Cloudflare's": [
        (429, {"errors": [{"message": "x", "code": 3036}], "success": False, "result": None}, QuotaExhausted),
        (429, {"errors": [{"message": "x", "code": 3040}], "success": False, "result": None}, Overloaded),
        (400, {"errors": [{"message": "No such model x or task", "code": 5007}], "success": False}, ModelNotFound),
        (401, {"errors": [{"message": "Authentication error", "code": 10000}], "success": False}, AuthenticationFailed),
    ],
    # tashfeenahmed/freellmapi#522 and #426, ErlichLiu/DeepClaude#111, www.volcengine.com/docs/82379, vercel/ai#9290
    "others": [
        (
            400,
            {"status": 400, "title": "Bad Request", "detail": "Function id 'x': DEGRADED function cannot be invoked"},
            Overloaded,
        ),  # NVIDIA
        (
            404,
            {"status": 404, "title": "Not Found", "detail": "Function 'x': Not found for account 'y'"},
            ModelNotFound,
        ),
        (
            413,
            _error("Request body too large for x model. Max size: 8000 tokens.", "tokens_limit_reached"),
            ContextTooLong,
        ),  # GitHub Models
        (429, _error("Rate limit of 150 per 86400s exceeded for UserByModelByDay.", "RateLimitReached"), RateLimited),
        (
            400,
            {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
            ModelNotFound,
        ),  # SiliconFlow
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}, QuotaExhausted),
        (403, _error("x", "AccountOverdueError", "Forbidden"), QuotaExhausted),  # Volcengine Ark
        (400, _error("x", "SensitiveContentDetected.Violence", "BadRequest"), ContentBlocked),
        (404, _error("x", "InvalidEndpointOrModel.NotFound", "NotFound"), ModelNotFound),
        (429, _error("x", "RateLimitExceeded.EndpointTPMExceeded", "TooManyRequests"), RateLimited),
        (410, _error("This model is no longer available"), ModelNotFound),  # SambaNova
        (
            429,
            {
                "error": {
                    "message": "Insufficient balance or no resource package.",
                    "type": "AI_APICallError",
                    "param": {"statusCode": 429, "message": "Insufficient balance"},
                }
            },
            QuotaExhausted,
        ),  # Vercel's gateway
    ],
}


def _kind_of(status: int, body: Any) -> tuple[type[Failure], str | None]:
    failure = failure_of_reply("x", status, {}, body)
    assert failure.message
    return type(failure), failure.adaptation


@pytest.mark.parametrize("server", FORMS)
def test_each_recorded_refusal_is_typed_and_mended(server: str) -> None:
    wrong = []
    for status, body, kind, *adaptation in FORMS[server]:
        expected = (kind, adaptation[0] if adaptation else None)
        for sent in (body, json.dumps(body).encode()) if not isinstance(body, str) else (body,):
            found = _kind_of(status, sent)
            wrong += [(status, body, expected, found)] if found != expected else []
    assert not wrong
