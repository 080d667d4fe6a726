"""Understudy: one LLM provider answers; when it cannot go on, another takes the part, in the same call.

    from understudy import LLMFactory

    factory = LLMFactory(primary_provider="gemini", fallback_providers=["claude"])
    response = factory.generate_content("Why is the sky blue?")
    print(response.content if response.success else response.error)

This module is a table of contents: each name is imported when it is first used.
"""

TYPE_CHECKING = False  # type checkers take it for True; typing's own costs more to import than all the rest here

if TYPE_CHECKING:
    from understudy.classify import classify_exception, classify_status, classify_text, parse_retry_after
    from understudy.clients import Clients, is_this_machine
    from understudy.errors import (
        AllProvidersFailed,
        AmbiguousProvider,
        AuthenticationFailed,
        BrokenPlugin,
        Cancelled,
        ConfigurationError,
        ConnectionFailed,
        ContentBlocked,
        ContextTooLong,
        EmptyResponse,
        Failure,
        InvalidRequest,
        MalformedResponse,
        ModelNotFound,
        Overloaded,
        PermissionDenied,
        PluginError,
        ProviderUnavailable,
        QuotaExhausted,
        QuotaFailure,
        RateLimited,
        RequestFailure,
        RequestRejected,
        RequestTooLarge,
        ResponseRejected,
        ServerError,
        StreamInterrupted,
        TargetFailure,
        Timeout,
        TransientFailure,
        UnderstudyError,
        UnknownFailure,
        UnknownProvider,
        UnsupportedRequest,
        UntrustedPlugin,
        conceal,
    )
    from understudy.events import (
        AttemptFailed,
        AttemptStarted,
        CallFinished,
        Event,
        RetryScheduled,
        Switched,
        TargetSkipped,
    )
    from understudy.factory import LLMFactory
    from understudy.hookspecs import hookimpl
    from understudy.lock import LockedPlugin, PluginLock
    from understudy.messages import (
        File,
        Image,
        Message,
        Part,
        Prompt,
        Request,
        Text,
        Thinking,
        Tool,
        ToolCall,
        ToolResult,
    )
    from understudy.policy import Policy
    from understudy.provider import Capabilities, ChatProvider, LLMProvider, structured_output
    from understudy.registry import load_extensions
    from understudy.response import (
        Attempt,
        Finish,
        FinishReason,
        LLMResponse,
        ResponseWarning,
        StreamEvent,
        TextDelta,
        ThinkingDelta,
        ToolCallDelta,
        Usage,
    )
    from understudy.settings import Secret, Settings

__version__ = "0.1.0"

__all__ = [
    "AllProvidersFailed",
    "AmbiguousProvider",
    "Attempt",
    "AttemptFailed",
    "AttemptStarted",
    "AuthenticationFailed",
    "BrokenPlugin",
    "CallFinished",
    "Cancelled",
    "Capabilities",
    "ChatProvider",
    "Clients",
    "ConfigurationError",
    "ConnectionFailed",
    "ContentBlocked",
    "ContextTooLong",
    "EmptyResponse",
    "Event",
    "Failure",
    "File",
    "Finish",
    "FinishReason",
    "Image",
    "InvalidRequest",
    "LLMFactory",
    "LLMProvider",
    "LLMResponse",
    "LockedPlugin",
    "MalformedResponse",
    "Message",
    "ModelNotFound",
    "Overloaded",
    "Part",
    "PermissionDenied",
    "PluginError",
    "PluginLock",
    "Policy",
    "Prompt",
    "ProviderUnavailable",
    "QuotaExhausted",
    "QuotaFailure",
    "RateLimited",
    "Request",
    "RequestFailure",
    "RequestRejected",
    "RequestTooLarge",
    "ResponseRejected",
    "ResponseWarning",
    "RetryScheduled",
    "Secret",
    "ServerError",
    "Settings",
    "StreamEvent",
    "StreamInterrupted",
    "Switched",
    "TargetFailure",
    "TargetSkipped",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Timeout",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "TransientFailure",
    "UnderstudyError",
    "UnknownFailure",
    "UnknownProvider",
    "UnsupportedRequest",
    "UntrustedPlugin",
    "Usage",
    "__version__",
    "classify_exception",
    "classify_status",
    "classify_text",
    "conceal",
    "hookimpl",
    "is_this_machine",
    "load_extensions",
    "parse_retry_after",
    "structured_output",
]

_CONTENTS = {
    "clients": "Clients is_this_machine",
    "classify": "classify_exception classify_status classify_text parse_retry_after",
    "errors": """AllProvidersFailed AmbiguousProvider AuthenticationFailed BrokenPlugin Cancelled ConfigurationError
        ConnectionFailed ContentBlocked ContextTooLong EmptyResponse Failure InvalidRequest MalformedResponse
        ModelNotFound Overloaded PermissionDenied PluginError ProviderUnavailable QuotaExhausted QuotaFailure
        RateLimited RequestFailure RequestRejected RequestTooLarge ResponseRejected ServerError StreamInterrupted
        TargetFailure Timeout TransientFailure UnderstudyError UnknownFailure UnknownProvider UnsupportedRequest
        UntrustedPlugin conceal""",
    "events": "AttemptFailed AttemptStarted CallFinished Event RetryScheduled Switched TargetSkipped",
    "factory": "LLMFactory",
    "hookspecs": "hookimpl",
    "lock": "LockedPlugin PluginLock",
    "messages": "File Image Message Part Prompt Request Text Thinking Tool ToolCall ToolResult",
    "policy": "Policy",
    "provider": "Capabilities ChatProvider LLMProvider structured_output",
    "registry": "load_extensions",
    "response": """Attempt Finish FinishReason LLMResponse ResponseWarning StreamEvent TextDelta ThinkingDelta
        ToolCallDelta Usage""",
    "settings": "Secret Settings",
}
_HOME = {name: module for module, names in _CONTENTS.items() for name in names.split()}


def __getattr__(name: str) -> object:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"understudy.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
