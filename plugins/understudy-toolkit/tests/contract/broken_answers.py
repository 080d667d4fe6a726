"""Providers that break a rule each: of names, settings and answers."""

from __future__ import annotations

import colorsys  # stands for an SDK
import http.client
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

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
