"""Providers that keep every rule: one of the full contract, one of three methods, one that plays a script."""

from __future__ import annotations

import json
import urllib.request

from parrot import ANSWER, COSTS, ERRORS, REPLIES, STREAM

from understudy import LLMFactory, LLMProvider, LLMResponse
from understudy.testing import ScriptedProvider
from understudy_toolkit.conformance import HTTPFaults, ProviderContract, Reply, overrides


class Mynah(LLMProvider):
    """Three methods, over HTTP."""

    address = ""

    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        asked = {"prompt": prompt, "temperature": temperature, "max_tokens": max_tokens}
        try:
            request = urllib.request.Request(self.address, json.dumps(asked).encode())
            with urllib.request.urlopen(request, timeout=5) as reply:
                return LLMResponse(True, json.load(reply)["text"], "mynah")
        except Exception as error:
            return LLMResponse(False, error=f"{type(error).__name__}: {error}")

    def get_provider_name(self) -> str:
        return "mynah"

    def is_available(self) -> bool:
        return True


class Player(ScriptedProvider):
    def __init__(self) -> None:
        super().__init__("player", [("Good ", "evening.")])


LLMFactory.register_provider("mynah", Mynah)
LLMFactory.register_provider("player", Player)


class TestParrot(HTTPFaults, ProviderContract):
    name = "parrot"
    settings = {"PARROT_API_KEY": "not-a-real-key"}
    key = "PARROT_API_KEY"
    url_setting = "PARROT_BASE_URL"
    answer = ANSWER
    streamed_answer = STREAM
    replies = REPLIES
    errors = ERRORS
    reports_usage = True
    sdk = ("turtle",)
    costs = COSTS
    model_setting = "PARROT_MODEL"
    uses_proxies = True
    has_other_names = True
    content_types = ("text/html", "text/plain")
    read_by_sdk = {"PARROT_ADMIN_KEY": "{stolen}"}


class TestMynah(HTTPFaults, ProviderContract):
    name = "mynah"
    ways = ("generate", "astream")  # the others are made of the same three methods
    answer = Reply({"text": "Good evening, dear audience."})

    def environment(self) -> dict[str, str]:
        Mynah.address = self.server.url
        return {}


class TestPlayer(ProviderContract):
    name = "player"

    @overrides(reason="to see that it can be done")
    def test_its_three_methods_are_there(self) -> None:
        pass
