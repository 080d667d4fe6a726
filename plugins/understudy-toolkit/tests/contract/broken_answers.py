"""Providers that break a rule each: of names, settings and answers."""

from __future__ import annotations

import colorsys  # stands for an SDK
import http.client
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from parrot import Json, Parrot

from understudy import (
    Finish,
    FinishReason,
    LLMResponse,
    Part,
    Request,
    Settings,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
)
from understudy.errors import ConfigurationError, MalformedResponse

tones = colorsys.rgb_to_hsv


class Misnamed(Parrot):
    def get_provider_name(self) -> str:
        return "perroquet"


class Antique(Parrot):
    spec_version = 0


class Undeclared(Parrot):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.capabilities = replace(self.capabilities, files=1)  # type: ignore[arg-type]  # that is what is broken


class Contradictory(Parrot):
    def is_available(self) -> bool:
        return False


class Hasty(Parrot):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if self.key is not None:
            connection = http.client.HTTPConnection(self.url.netloc, timeout=1)
            connection.request("GET", "/models")
            connection.getresponse().read()
            connection.close()


class Keyless(Parrot):
    def unavailable_reason(self) -> str | None:
        return None


class Credulous(Parrot):
    def __init__(self, settings: Settings) -> None:
        given = settings.get("PARROT_API_KEY") or ""
        good = "\t" not in given
        super().__init__(settings if good else Settings({"PARROT_API_KEY": "another"}, environment={}))


class Anonymous(Parrot):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.credential = ""


class Showy(Parrot):
    def __repr__(self) -> str:
        return f"Showy({self.key.reveal() if self.key else None})"


class Heavy(Parrot):
    pass


# ---- settings ----


class Trusting(Parrot):
    def __init__(self, settings: Settings) -> None:
        try:
            super().__init__(settings)
        except ConfigurationError:
            super().__init__(Settings({"PARROT_API_KEY": "not-a-real-key"}, environment={}))


class Faithful(Parrot):
    def body(self, request: Request, stream: bool) -> bytes:
        asked = request if self.default_model == "ara-1" else replace(request, model=None)
        return super().body(asked, stream)


class Curious(Parrot):
    def headers(self) -> dict[str, str]:
        return {**super().headers(), "x-admin": os.environ.get("PARROT_ADMIN_KEY", "none")}


class Detouring(Parrot):
    def route(self) -> tuple[SplitResult, str]:
        proxy = os.environ.get("HTTP_PROXY")
        peer, path = super().route()
        return (peer, path) if proxy is None else (urlsplit(proxy), f"http://{self.url.netloc}/chat")


class Straight(Parrot):
    def route(self) -> tuple[SplitResult, str]:
        return self.url, f"{self.url.path.rstrip('/')}/chat"


class Rootless(Parrot):
    def route(self) -> tuple[SplitResult, str]:
        peer, path = super().route()
        return peer, path.replace(self.url.path.rstrip("/") + "/chat", "/chat")


class Sharing(Parrot):
    def headers(self) -> dict[str, str]:
        return {**super().headers(), "x-key": "not-a-real-key"}


class Impulsive(Parrot):
    async def agenerate(self, request: Request) -> LLMResponse:
        import turtledemo  # noqa: F401  # stands for an SDK

        return await super().agenerate(request)


class Littering(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        socket.socket()
        return super().generate(request)


class Loud(Parrot):
    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        return LLMResponse(False, error="I would rather not")


# ---- answers ----


class Changed(Parrot):
    """A provider whose answers have something wrong with them."""

    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        raise NotImplementedError

    def answer(self, body: Any, request: Request) -> LLMResponse:
        return self.change(super().answer(body, request), request)


class Untyped(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        return replace(response, request_id=7)  # type: ignore[arg-type]  # that is what is broken


class Nameless(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        return replace(response, provider_name="")


class Partial(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        return replace(response, parts=(*response.parts, Text("More.")))


class Creditor(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        assert response.usage is not None
        return replace(response, usage=replace(response.usage, output_tokens=-1))


class Swapping(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        assert response.usage is not None
        asked, told = response.usage.input_tokens, response.usage.output_tokens
        return replace(response, usage=replace(response.usage, input_tokens=told, output_tokens=asked))


class Rounding(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        assert response.usage is not None
        return replace(response, usage=replace(response.usage, output_tokens=response.usage.output_tokens + 1))


class Inventing(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        assert response.usage is not None
        return replace(response, usage=replace(response.usage, input_tokens=len(request.prompt) // 4))


class Choosy(Parrot):
    def look_at(self, headers: Mapping[str, str]) -> None:
        if "html" in str(headers).lower():
            raise MalformedResponse("expected JSON or events, found a page")


class Tireless(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        cut = response.finish_reason is FinishReason.LENGTH
        return replace(response, finish_reason=FinishReason.STOP) if cut else response


class Muttering(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        hot = (request.temperature or 0) > 1
        return replace(response, warnings=("too hot",)) if hot else response  # type: ignore[arg-type]  # as above


class Shapeless(Changed):
    def change(self, response: LLMResponse, request: Request) -> LLMResponse:
        return replace(response, structured=None)


class Endless(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        return (event for event in super().stream(request) if not isinstance(event, Finish))


class Stammering(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        for event in super().stream(request):
            if isinstance(event, TextDelta):
                yield event
            yield event


class Twofold(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        for event in super().stream(request):
            yield Finish(replace(event.response, model="another")) if isinstance(event, Finish) else event


class Meddling(Parrot):
    def body(self, request: Request, stream: bool) -> bytes:
        for own in request.options.values():
            if "x" in own:
                own["x"].append(2)
        return super().body(request, stream)


class Remembering(Parrot):
    def body(self, request: Request, stream: bool) -> bytes:
        self.default_model = request.model or self.default_model
        return super().body(request, stream)


class Overheard(Parrot):
    heard = ""

    def body(self, request: Request, stream: bool) -> bytes:
        self.heard = request.system or self.heard
        return super().body(replace(request, system=self.heard or None), stream)


class Stopless(Parrot):
    def body(self, request: Request, stream: bool) -> bytes:
        return super().body(replace(request, stop=()), stream)


class Lawless(Parrot):
    def body(self, request: Request, stream: bool) -> bytes:
        return super().body(replace(request, system=None), stream)


class Indiscreet(Parrot):
    def say(self, part: Part) -> Json | None:
        if isinstance(part, Thinking) and self.name not in part.provider_data:
            return {"text": part.text}
        return super().say(part)
