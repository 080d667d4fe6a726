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
    from understudy.discovery.lock import LockedPlugin, PluginLock
    from understudy.discovery.registry import load_extensions
    from understudy.errors import (
        AllProvidersFailed,
        AmbiguousProvider,
        AnswerCutShort,
        AuthenticationFailed,
        BrokenPlugin,
        Cancelled,
        CircuitOpen,
        ConfigurationError,
        ConnectionFailed,
        ContentBlocked,
        ContextTooLong,
        CoolingDown,
        Effect,
        EmptyResponse,
        Failure,
        InvalidRequest,
        LimitReached,
        MalformedResponse,
        ModelNotFound,
        NeedsAttention,
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
        TargetResting,
        Timeout,
        TooManyCalls,
        TransientFailure,
        UnderstudyError,
        UnknownFailure,
        UnknownProvider,
        UnsupportedRequest,
        UntrustedPlugin,
    )
    from understudy.events import (
        AttemptFailed,
        AttemptStarted,
        BreakerChanged,
        CallCancelled,
        CallFinished,
        Event,
        RetryScheduled,
        Switched,
        TargetSkipped,
    )
    from understudy.explain.plan import Plan, PlannedTarget
    from understudy.factory import LLMFactory
    from understudy.health.in_memory import InMemoryHealthStore
    from understudy.health.latency import Latency
    from understudy.health.store import Claim, HealthStore, Lease, Report, TargetHealth
    from understudy.hookspecs import hookimpl
    from understudy.limits import Limits
    from understudy.masking import conceal
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
    from understudy.provider import Capabilities, ChatProvider, LLMProvider, Pace, structured_output
    from understudy.response import (
        Attempt,
        Continuation,
        Finish,
        FinishReason,
        Heartbeat,
        LLMResponse,
        ResponseWarning,
        Restart,
        StreamEvent,
        TextDelta,
        ThinkingDelta,
        ToolCallDelta,
    )
    from understudy.routing.strategies import weighted
    from understudy.settings import Secret, Settings
    from understudy.target import BreakerState, Candidate
    from understudy.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "AllProvidersFailed",
    "AmbiguousProvider",
    "AnswerCutShort",
    "Attempt",
    "AttemptFailed",
    "AttemptStarted",
    "AuthenticationFailed",
    "BreakerChanged",
    "BreakerState",
    "BrokenPlugin",
    "CallCancelled",
    "CallFinished",
    "Cancelled",
    "Candidate",
    "Capabilities",
    "ChatProvider",
    "CircuitOpen",
    "Claim",
    "ConfigurationError",
    "ConnectionFailed",
    "ContentBlocked",
    "ContextTooLong",
    "Continuation",
    "CoolingDown",
    "Effect",
    "EmptyResponse",
    "Event",
    "Failure",
    "File",
    "Finish",
    "FinishReason",
    "HealthStore",
    "Heartbeat",
    "Image",
    "InMemoryHealthStore",
    "InvalidRequest",
    "LLMFactory",
    "LLMProvider",
    "LLMResponse",
    "Latency",
    "Lease",
    "LimitReached",
    "Limits",
    "LockedPlugin",
    "MalformedResponse",
    "Message",
    "ModelNotFound",
    "NeedsAttention",
    "Overloaded",
    "Pace",
    "Part",
    "PermissionDenied",
    "Plan",
    "PlannedTarget",
    "PluginError",
    "PluginLock",
    "Policy",
    "Prompt",
    "ProviderUnavailable",
    "QuotaExhausted",
    "QuotaFailure",
    "RateLimited",
    "Report",
    "Request",
    "RequestFailure",
    "RequestRejected",
    "RequestTooLarge",
    "ResponseRejected",
    "ResponseWarning",
    "Restart",
    "RetryScheduled",
    "Secret",
    "ServerError",
    "Settings",
    "StreamEvent",
    "StreamInterrupted",
    "Switched",
    "TargetFailure",
    "TargetHealth",
    "TargetResting",
    "TargetSkipped",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Timeout",
    "TooManyCalls",
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
    "load_extensions",
    "parse_retry_after",
    "structured_output",
    "weighted",
]

_CONTENTS = {
    "classify": "classify_exception classify_status classify_text parse_retry_after",
    "errors": """AllProvidersFailed AmbiguousProvider AnswerCutShort AuthenticationFailed BrokenPlugin Cancelled
        CircuitOpen ConfigurationError ConnectionFailed ContentBlocked ContextTooLong CoolingDown Effect EmptyResponse
        Failure InvalidRequest LimitReached MalformedResponse ModelNotFound NeedsAttention Overloaded
        PermissionDenied PluginError ProviderUnavailable QuotaExhausted QuotaFailure RateLimited RequestFailure
        RequestRejected RequestTooLarge ResponseRejected ServerError StreamInterrupted TargetFailure
        TargetResting Timeout TooManyCalls TransientFailure UnderstudyError UnknownFailure UnknownProvider
        UnsupportedRequest UntrustedPlugin""",
    "events": """AttemptFailed AttemptStarted BreakerChanged CallCancelled CallFinished Event RetryScheduled Switched
        TargetSkipped""",
    "factory": "LLMFactory",
    "health.in_memory": "InMemoryHealthStore",
    "hookspecs": "hookimpl",
    "health.latency": "Latency",
    "limits": "Limits",
    "discovery.lock": "LockedPlugin PluginLock",
    "masking": "conceal",
    "messages": "File Image Message Part Prompt Request Text Thinking Tool ToolCall ToolResult",
    "explain.plan": "Plan PlannedTarget",
    "policy": "Policy",
    "provider": "Capabilities ChatProvider LLMProvider Pace structured_output",
    "discovery.registry": "load_extensions",
    "response": """Attempt Continuation Finish FinishReason Heartbeat LLMResponse ResponseWarning Restart StreamEvent
        TextDelta ThinkingDelta ToolCallDelta""",
    "routing.strategies": "weighted",
    "settings": "Secret Settings",
    "target": "BreakerState Candidate",
    "usage": "Usage",
    "health.store": "Claim HealthStore Lease Report TargetHealth",
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
