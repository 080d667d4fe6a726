"""The provider `echo`: answers with the question, without a network. Copy this module to begin one of your own."""

import re
from collections.abc import Iterator

from understudy import ChatProvider, Finish, LLMResponse, Request, Settings, StreamEvent, TextDelta, hookimpl


class EchoProvider(ChatProvider):
    """Says back what it was asked, word by word in a stream, and says that it is an echo and no model."""

    def get_provider_name(self) -> str:
        """Return the name that the entry point gives it too."""
        return "echo"

    def generate(self, request: Request) -> LLMResponse:
        """Answer with the last thing that the user said."""
        return LLMResponse(True, f"[echo, not a model] {request.prompt}", "echo", model="echo")

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer word by word, and end as every stream must: with Finish."""
        response = self.generate(request)
        for word in re.split(r"(?<= )", response.content):
            yield TextDelta(word)
        yield Finish(response)


@hookimpl
def understudy_provider(settings: Settings) -> EchoProvider:
    """Make the provider; one that needs a key would ask settings.secret("ECHO_API_KEY") for it."""
    return EchoProvider()
