"""A parrot for Understudy."""

import re

from understudy import (
    Capabilities,
    ChatProvider,
    Finish,
    FinishReason,
    LLMResponse,
    ResponseWarning,
    TextDelta,
    hookimpl,
)
from understudy.errors import ContextTooLong, ProviderUnavailable


class ParrotProvider(ChatProvider):
    """Repeats the prompt, as long as that is short."""

    capabilities = Capabilities(streaming=True)

    def __init__(self, settings):
        self._key = settings.api_key("PARROT_API_KEY")
        self.credential = settings.credential(self._key)
        self._unavailable = None if self._key or not settings.needs_key else settings.missing("PARROT_API_KEY")
        self.default_model = settings.model("PARROT_MODEL", default="ara-1")

    def get_provider_name(self):
        return "parrot"

    def unavailable_reason(self):
        return self._unavailable

    def generate(self, request):
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider="parrot")
        model = request.model or self.default_model
        if len(request.prompt) > 100:
            raise ContextTooLong("expected at most 100 letters", provider="parrot", model=model)
        left_out = [name for name in ("temperature", "max_tokens", "stop") if getattr(request, name) not in (None, ())]
        return LLMResponse(
            True,
            request.prompt,
            "parrot",
            model=model,
            finish_reason=FinishReason.STOP,
            warnings=tuple(ResponseWarning(name, f"{name} was left out: parrots take none") for name in left_out),
        )

    def stream(self, request):
        response = self.generate(request)
        for word in re.split(r"(?<= )", response.content):
            yield TextDelta(word)
        yield Finish(response)


@hookimpl
def understudy_provider(settings):
    return ParrotProvider(settings)
