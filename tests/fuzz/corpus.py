"""The replies that everything begins with: what the sandbox answers to each provider, and what vendors really sent."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.lane import PlayedLane, Recorder, Sent
from understudy import LLMFactory, Message, Request, Settings, Tool, UnderstudyError
from understudy.provider import ChatProvider
from understudy_sandbox import Sandbox, faults

KEY = "not-a-real-key-0123456789abcdefghijkl"
RECORDINGS = Path(os.environ.get("UNDERSTUDY_RECORDINGS", Path(__file__).parents[3] / "shared" / "recordings"))
USER = {
    "type": "authorized_user",
    "client_id": "nobody",
    "client_secret": "none",
    "refresh_token": "none",
    "token": "token-of-the-stand-in",
    "expiry": "2999-01-01T00:00:00Z",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="Tells the weather.", parameters=SCHEMA)
TIMEOUT = 20.0  # seconds: guards against what hangs
HELLO = Request(messages=(Message.user("Hello there, what is the weather?"),), max_tokens=200, timeout=TIMEOUT)


@dataclass(frozen=True)
class Vendor:
    """A provider as it is asked here.

    Args:
        name: of the provider.
        stand_in: who answers for it in the sandbox.
        options: what a request to it has besides.
        transports: its lanes.
        recorded: which of the recorded replies are its own: the folder, and a part of the path that was asked.
    """

    name: str
    stand_in: str
    options: Mapping[str, Any]
    transports: tuple[str, ...] = ("sdk", "http")
    recorded: tuple[tuple[str, str], ...] = ()
    label: str = ""


CHAT = tuple((one, "chat/completions") for one in ("openai", "azure", "mistral", "groq"))
VENDORS = {
    vendor.label or vendor.name: vendor
    for vendor in (
        Vendor("claude", "claude", {}, recorded=(("anthropic", "messages"),)),
        Vendor("openai", "openai", {"openai": {"api": "chat"}}, recorded=CHAT),
        Vendor(
            *("openai", "openai", {"openai": {"api": "responses"}}),
            recorded=(("openai", "/responses"),),
            label="openai-responses",
        ),
        Vendor("gemini", "gemini", {}, recorded=(("gemini", ""),)),
        Vendor("vertex", "gemini", {}, recorded=(("gemini", ""),)),
        Vendor("gemini-legacy", "gemini", {}, transports=("sdk",), recorded=(("gemini", ""),)),
        Vendor("cohere", "cohere", {}, recorded=(("cohere", "chat"),)),
        Vendor("ollama", "ollama", {}, recorded=(("ollama", "/api/chat"),)),
    )
}
ASKED = {
    "plain": {},
    "tools": {"tools": (WEATHER,), "tool_choice": "required"},
    "schema": {"output_schema": SCHEMA},
    "stops": {"stop": ("zzz",), "temperature": 0.5},
}
FAULTS = (
    *map(faults.parse, (*faults.FAILURES, "blocked", "empty", "out_of_tokens", "null_object", "html_page")),
    *map(
        faults.parse,
        ("stream_error after=1", "blocked where=prompt", "heartbeats every=0.01 seconds=0.05", "status code=404"),
    ),
)


def settings_of(environment: Mapping[str, str], transport: str = "http", folder: str | None = None) -> Settings:
    """Return settings with a key for every provider."""
    user = Path(folder or _folder(), "user.json")
    user.write_text(json.dumps(USER), "utf-8")
    keys = ("ANTHROPIC", "OPENAI", "GOOGLE", "COHERE", "CO")
    lanes = {f"{vendor.name.upper()}_TRANSPORT": transport for vendor in VENDORS.values()}
    vertex = {"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(user)}
    models = {"OPENAI_MODEL": "gpt-5.2", "OLLAMA_MODEL": "llama3.2"}
    own = {f"{key}_API_KEY": KEY for key in keys}
    return Settings(environment={**environment, **own, **lanes, **vertex, **models}, directory=folder or _folder())


@cache
def _folder() -> str:
    return tempfile.mkdtemp(prefix="fuzz-")


def providers_of(settings: Settings) -> dict[str, ChatProvider]:
    """Return the providers of all vendors, by their labels."""
    found = {}
    for label, vendor in VENDORS.items():
        factory = LLMFactory(vendor.name, [], settings=settings, extensions=[])
        ((_, found[label]),) = factory.route
    return found


def request_to(label: str, asked: str, **given: Any) -> Request:
    """Return a request as one vendor is asked."""
    return replace(HELLO, options=VENDORS[label].options, **{**ASKED[asked], **given})


class Corpus:
    """Providers on lanes that replay, and what they are answered with.

    Attributes:
        providers: by the vendors' labels.
        lanes: theirs.
        whole: replies to a question that is asked for as a whole, by the vendors' labels.
        streams: replies to one that is asked for as a stream.
    """

    def __init__(self, everything: bool = True) -> None:
        self.whole: dict[str, list[tuple[str, Sent]]] = {label: [] for label in VENDORS}
        self.streams: dict[str, list[tuple[str, Sent]]] = {label: [] for label in VENDORS}
        with Sandbox() as sandbox:
            settings = settings_of(sandbox.environment())
            for label, provider in providers_of(settings).items():
                self._record(sandbox, label, provider, FAULTS if everything else FAULTS[:3])
        if everything:
            self._read_recordings()
        self.lanes = {label: PlayedLane() for label in VENDORS}
        self.providers = providers_of(settings)
        for label, provider in self.providers.items():
            put_lane(provider, self.lanes[label])

    def _record(self, sandbox: Sandbox, label: str, provider: ChatProvider, met: Sequence[faults.Fault]) -> None:
        stand_in = sandbox[VENDORS[label].stand_in]
        recorder = Recorder(provider._lane)
        provider._lane = recorder
        for asked, fault in [*((name, None) for name in ASKED), *(("plain", fault) for fault in met)]:
            for stream, found in ((False, self.whole), (True, self.streams)):
                stand_in.reset()
                stand_in.next(fault)
                request = request_to(label, asked)
                with suppress(UnderstudyError):
                    list(provider.stream(request)) if stream else provider.generate(request)
                if recorder.sent is not None and recorder.sent.body:
                    found[label].append((asked, recorder.sent))
        provider.close()
        assert len(self.whole[label]) >= len(ASKED), label

    def _read_recordings(self) -> None:
        for file in sorted(RECORDINGS.glob("*/*/*.json")):
            for reply in json.loads(file.read_text("utf-8"))["replies"]:
                for label, vendor in VENDORS.items():
                    wanted = [part for folder, part in vendor.recorded if folder == file.parent.name]
                    path = str(reply["request"].get("path", ""))
                    body = _body_of(reply)
                    if body is None or not any(part in path for part in wanted):
                        continue
                    asked = "tools" if reply["request"].get("has_tools") else "plain"
                    headers = [(name, value) for name, value in reply["headers"] if name.lower() not in _OF_THE_BODY]
                    found = self.streams if reply["request"].get("stream") else self.whole
                    found[label].append((asked, Sent(reply["status"], tuple(headers), body)))


_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


def _body_of(reply: Mapping[str, Any]) -> bytes | None:
    body = reply.get("body")
    return body.encode() if isinstance(body, str) else None


def put_lane(provider: Any, lane: Any) -> None:
    """Have a provider ask on another lane; Ollama's has one of its own around it."""
    if hasattr(provider._lane, "_memory"):
        provider._lane._lane = lane
    else:
        provider._lane = lane


@cache
def corpus(everything: bool = True) -> Corpus:
    """Return the corpus, which is recorded once."""
    return Corpus(everything)
