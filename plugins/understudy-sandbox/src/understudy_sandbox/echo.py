"""The provider `echo`: answers with the question, without a network. Copy this module to begin one of your own."""

import re
from collections.abc import Iterator

from understudy import Capabilities, ChatProvider, Finish, LLMResponse, Request, Settings, TextDelta, hookimpl


class EchoProvider(ChatProvider):
    """Says back what it was asked, word by word in a stream, and says that it is an echo and no model."""

    capabilities = Capabilities(streaming=True, prefill=True, keeps_deadline=True)

    def get_provider_name(self) -> str:
        """Return the name that the entry point gives it too."""
        return "echo"

    def generate(self, request: Request) -> LLMResponse:
        """Answer with the last thing that the user said, or with the rest of it where the answer is begun already."""
        begun = request.messages[-1].text if request.messages[-1].role == "assistant" else ""
        return LLMResponse(True, f"[echo, not a model] {request.prompt}".removeprefix(begun), "echo", model="echo")

    def stream(self, request: Request) -> Iterator[TextDelta | Finish]:
        """Answer word by word, and end as every stream must: with Finish."""
        response = self.generate(request)
        for word in filter(None, re.split(r"(?<= )", response.content)):
            yield TextDelta(word)
        yield Finish(response)


@hookimpl
def understudy_provider(settings: Settings) -> EchoProvider:
    """Make the provider; one that needs a key would ask settings.secret("ECHO_API_KEY") for it."""
    return EchoProvider()
