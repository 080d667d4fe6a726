"""Understudy: one LLM provider answers; when it cannot go on, another takes over, in the same call.

    from understudy import LLMFactory

    factory = LLMFactory(primary_provider="gemini", fallback_providers=["claude"])
    response = factory.generate_content("Why is the sky blue?")
    print(response.content if response.success else response.error)

This module is a table of contents: each name is imported when it is first used.
"""

from understudy.contents import find_names

TYPE_CHECKING = False  # type checkers take it for True; typing's own costs more to import than all the rest here

if TYPE_CHECKING:
    from understudy.errors import AllProvidersFailed, ConfigurationError, Failure, StreamInterrupted, UnderstudyError
    from understudy.factory import LLMFactory
    from understudy.hookspecs import hookimpl
    from understudy.limits import Limits
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
    from understudy.provider import Capabilities, ChatProvider, LLMProvider
    from understudy.response import (
        Attempt,
        Continuation,
        Finish,
        FinishReason,
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
    from understudy.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "AllProvidersFailed",
    "Attempt",
    "Capabilities",
    "ChatProvider",
    "ConfigurationError",
    "Continuation",
    "Failure",
    "File",
    "Finish",
    "FinishReason",
    "Image",
    "LLMFactory",
    "LLMProvider",
    "LLMResponse",
    "Limits",
    "Message",
    "Part",
    "Policy",
    "Prompt",
    "Request",
    "ResponseWarning",
    "Restart",
    "Secret",
    "Settings",
    "StreamEvent",
    "StreamInterrupted",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "UnderstudyError",
    "Usage",
    "__version__",
    "hookimpl",
    "weighted",
]

_CONTENTS = {
    "errors": "AllProvidersFailed ConfigurationError Failure StreamInterrupted UnderstudyError",
    "factory": "LLMFactory",
    "hookspecs": "hookimpl",
    "limits": "Limits",
    "messages": "File Image Message Part Prompt Request Text Thinking Tool ToolCall ToolResult",
    "policy": "Policy",
    "provider": "Capabilities ChatProvider LLMProvider",
    "response": """Attempt Continuation Finish FinishReason LLMResponse ResponseWarning
        Restart StreamEvent TextDelta ThinkingDelta ToolCallDelta""",
    "routing.strategies": "weighted",
    "settings": "Secret Settings",
    "usage": "Usage",
}
__getattr__ = find_names(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return __all__
