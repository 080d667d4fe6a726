"""Both lanes send the same: what a vendor's SDK puts on the wire is what our own HTTP does, but for what stands here.

Each row of DIFFERENCES is a difference with its reason. A new version of an SDK that sends more, less or something else
fails here; so does a row that no longer occurs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from understudy import ChatProvider, Image, Message, Request, Settings, Text, Tool, ToolCall, ToolResult
from understudy.errors import Failure
from understudy_toolkit.http import HttpLane

Facts = Mapping[str, str]  # what is told of a request: "header accept", "body model", "query alt"

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
HELLO = Message.user("Grüße ☃ 😀 </script>")
WEATHER = Tool(
    name="weather",
    description="The weather in a town.",
    parameters={"type": "object", "properties": {"town": {"type": "string"}}},
)
TIME = Tool(name="time")
SCHEMA = {"type": "object", "properties": {"sky": {"type": "string"}}, "required": ["sky"]}
TURNS = (
    Message.user("How is the weather in Bonn?"),
    Message.assistant("I look.", ToolCall(id="call_1", name="weather", arguments={"town": "Bonn", "days": 1})),
    Message.tool(ToolResult(call_id="call_1", name="weather", content=(Text("rain"),))),
    Message.assistant("It rains."),
    Message.user("And the sky?"),
)
REQUESTS = {
    "plain": Request(messages=(HELLO,)),
    "settings": Request(
        messages=(HELLO,), system="Be brief.", temperature=0.3, max_tokens=300, stop=("END",), timeout=2.5
    ),
    "zero": Request(messages=(HELLO,), temperature=0.0, max_tokens=1024, timeout=30),
    "tools": Request(messages=(HELLO,), tools=(WEATHER, TIME)),
    "one tool": Request(messages=(HELLO,), tools=(WEATHER, TIME), tool_choice="weather"),
    "schema": Request(messages=(HELLO,), output_schema=SCHEMA),
    "picture": Request(messages=(Message.user("What is this?", Image(data=PICTURE, media_type="image/png")),)),
    "turns": Request(messages=TURNS, tools=(WEATHER,)),
}


class Row(NamedTuple):
    """One way in which the lanes may differ.

    Args:
        what: a fact of a request.
        sdk: what the SDK sends there, a regular expression; None for nothing.
        http: what the http lane sends there, likewise.
        why: the reason.
    """

    what: str
    sdk: str | None
    http: str | None
    why: str


ENCODINGS = (
    Row("header accept-encoding", "gzip, deflate", "gzip", "every vendor has gzip; the SDKs' lane is given both"),
    Row("header accept-encoding", "gzip, deflate", "identity", "what packs a stream may hold its pieces back"),
    Row("header connection", "keep-alive", None, "HTTP/1.1 says so by itself"),
)
OURS = r"understudy/[\w.+-]+"


def sdk_names_itself(agent: str) -> Row:
    """Return the row of the header that says who asks."""
    return Row("header user-agent", agent, OURS, "each says who asks; no vendor makes a difference between them")


def only_the_sdk_tells(why: str, **headers: str) -> tuple[Row, ...]:
    """Return rows of headers that the http lane does not send."""
    return tuple(Row(f"header {name.replace('_', '-')}", value, None, why) for name, value in headers.items())


STAINLESS = only_the_sdk_tells(
    "the SDK tells its maker about the machine and its settings; neither API is documented to read it",
    x_stainless_arch=r"\w+",
    x_stainless_async="false|async:asyncio",
    x_stainless_lang="python",
    x_stainless_os=r"\w+",
    x_stainless_package_version=r"[\w.]+",
    x_stainless_read_timeout=r"[\d.]+",
    x_stainless_retry_count="0",
    x_stainless_runtime=r"\w+",
    x_stainless_runtime_version=r"[\w.+]+",
)
GOOGLE = (
    *only_the_sdk_tells("the same as its user-agent", x_goog_api_client=r"google-genai-sdk/\S+ gl-python/\S+"),
    sdk_names_itself(r"google-genai-sdk/\S+ gl-python/\S+"),
    Row("body generationConfig", "{}", None, "the SDK writes it where nothing is in it, which says nothing"),
    Row("header content-type", "application/json", None, "the SDK sends it without a body too"),
)

# By vendor: the package of the SDK, the version that the rows were read with, and the rows.
# anthropic 2.14.0, openai 3.57.0, google-genai 3.6.1, cohere 7.3.1 and ollama 0.6.3, read on the wire 2026-12-01
DIFFERENCES: Mapping[str, tuple[str, str, tuple[Row, ...]]] = {
    "claude": (
        "anthropic",
        "2.14.0",
        (
            *ENCODINGS,
            sdk_names_itself(r"(Async)?Anthropic/Python \S+"),
            *STAINLESS,
            *only_the_sdk_tells("as x-stainless-read-timeout", x_stainless_timeout=r"[\d.]+"),
        ),
    ),
    "openai": ("openai", "3.57.0", (*ENCODINGS, sdk_names_itself(r"(Async)?OpenAI/Python \S+"), *STAINLESS)),
    "gemini": ("google-genai", "3.6.1", (*ENCODINGS, *GOOGLE)),
    "vertex": ("google-genai", "3.6.1", (*ENCODINGS, *GOOGLE)),
    "cohere": (
        "cohere",
        "7.3.1",
        (
            *ENCODINGS,
            sdk_names_itself(r"cohere/\S+"),
            *only_the_sdk_tells(
                "the SDK tells its maker about the machine",
                x_fern_language="Python",
                x_fern_platform=r"\S+",
                x_fern_runtime=r"python/\S+",
                x_fern_sdk_name="cohere",
                x_fern_sdk_version=r"[\w.]+",
            ),
        ),
    ),
    "ollama": (
        "ollama",
        "0.6.3",
        (
            *ENCODINGS,
            sdk_names_itself(r"ollama-python/\S+ \(.+\) Python/\S+"),
            Row("header content-type", "application/json", None, "the SDK sends it without a body too"),
        ),
    ),
}
WHAT_TO_DO = (
    "If the vendor reads it (a version, a beta, a key, a form), send it on the http lane as well: from the plugin's "
    "provider.py, or with `headers` of lane_of. If it only tells about the SDK, or means what is sent already, add a "
    "row with the reason to DIFFERENCES in tests/test_same_on_the_wire.py, and set the version that it was read with."
)


# ---- what is asked, and of whom ----


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """Whom to ask, and what besides REQUESTS.

    Args:
        name: whose rows of DIFFERENCES count.
        settings: with {url} for the server's address.
        transport: the variable that chooses the lane; None where only the SDK can ask.
        custom: the variable of the user's own headers.
        options: of further requests.
        module: the plugin's module.
        home: where the plugin keeps the vendor's own address, if the server shall be taken for that.
        also: the names of further methods without a request.
        other_name: the name of another server that speaks the vendor's API.
        sees: the model that takes pictures, where the default model does not.
    """

    name: str
    settings: Mapping[str, str]
    transport: str | None = None
    custom: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    module: str = ""
    home: str | None = None
    also: tuple[str, ...] = ("list_models",)
    other_name: str | None = None
    sees: str | None = None

    def requests(self) -> dict[str, Request]:
        """Return all requests by their names."""
        named = {"picture": replace(REQUESTS["picture"], model=self.sees)}
        for name, options in self.options.items():
            model = options.get("model")
            rest = {key: value for key, value in options.items() if key != "model"}
            named[name] = replace(REQUESTS["settings"], model=model, options={self.name: rest} if rest else {})
        return {name: replace(one, timeout=one.timeout or 20) for name, one in {**REQUESTS, **named}.items()}


RESPONSES = {
    "responses": {"api": "responses"},
    "responses that think": {"api": "responses", "reasoning": {"effort": "low", "summary": "auto"}},
}
CLAUDE = Vendor(
    name="claude",
    settings={"ANTHROPIC_API_KEY": "not-a-real-key", "ANTHROPIC_BASE_URL": "{url}"},
    transport="CLAUDE_TRANSPORT",
    custom="ANTHROPIC_CUSTOM_HEADERS",
    options={
        "thinking": {"thinking": {"type": "adaptive", "display": "summarized"}, "effort": "low"},
        "budget": {"model": "claude-haiku-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "older version": {"model": "claude-haiku-4-5", "top_k": 5},
        "named version": {"api_version": "2023-06-01"},
        "own tools": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    },
    module="understudy_claude",
)
OPENAI = Vendor(
    name="openai",
    settings={
        "OPENAI_API_KEY": "not-a-real-key",
        "OPENAI_BASE_URL": "{url}/v1",
        "OPENAI_ORG_ID": "org-1",
        "OPENAI_PROJECT_ID": "proj-1",
    },
    transport="OPENAI_TRANSPORT",
    custom="OPENAI_CUSTOM_HEADERS",
    options={
        "effort": {"effort": "low"},
        "around": {"extra_headers": {"OpenAI-Beta": "x=1"}, "extra_query": {"api-version": "pre view"}},
        **RESPONSES,
    },
    module="understudy_openai",
)
GEMINI = Vendor(
    name="gemini",
    settings={"GOOGLE_API_KEY": "not-a-real-key", "GEMINI_BASE_URL": "{url}"},
    transport="GEMINI_TRANSPORT",
    options={
        "thinking": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512}},
        "search": {"tools": [{"googleSearch": {}}]},
        "tuned": {"model": "tunedModels/mine-1"},
    },
    module="understudy_gemini",
)
VENDORS = {
    "claude": replace(CLAUDE, home="understudy_claude.provider.BASE_URL"),
    "claude elsewhere": CLAUDE,
    "openai": OPENAI,
    "openai, responses": replace(OPENAI, settings={**OPENAI.settings, "OPENAI_MODEL": "gpt-6-luna"}, options=RESPONSES),
    "another server": replace(OPENAI, settings={"OPENAI_API_KEY": "not-a-real-key"}, other_name="parrot"),
    "gemini": GEMINI,
    "vertex": replace(
        GEMINI,
        name="vertex",
        settings={
            "GOOGLE_CLOUD_PROJECT": "p1",
            "VERTEX_BASE_URL": "{url}",
            "GOOGLE_APPLICATION_CREDENTIALS": "{user}",
        },
        transport=None,
        options={name: options for name, options in GEMINI.options.items() if name != "tuned"},
        module="understudy_gemini.vertex",
    ),
    "cohere": Vendor(
        name="cohere",
        settings={"COHERE_API_KEY": "not-a-real-key", "COHERE_BASE_URL": "{url}"},
        transport="COHERE_TRANSPORT",
        options={
            "thinking": {"model": "command-a-reasoning-08-2025", "thinking": {"type": "enabled", "token_budget": 512}},
            "own": {"k": 5, "safety_mode": "STRICT"},
        },
        module="understudy_cohere",
        sees="command-a-plus-05-2026",
    ),
    "ollama": Vendor(
        name="ollama",
        settings={"OLLAMA_API_KEY": "not-a-real-key", "OLLAMA_BASE_URL": "{url}"},
        transport="OLLAMA_TRANSPORT",
        options={"thinking": {"think": "low"}, "own": {"keep_alive": "5m", "num_ctx": 2048}},
        module="understudy_ollama",
        also=("list_models", "is_available"),
    ),
}
TOKEN = "token-of-the-stand-in"
USER = {  # of Google Cloud, with a token that is good for long: nobody is asked for another
    "type": "authorized_user",
    **dict.fromkeys(("client_id", "client_secret", "refresh_token"), "none"),
    "token": TOKEN,
    "expiry": "2999-01-01T00:00:00Z",
}


# ---- the wire ----


class Recorder(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers 503."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each reply waits for the client's system, for 40 ms
    received: list[tuple[str, str, list[tuple[str, str]], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.received.append((self.command, self.path, self.headers.items(), body))
        busy = b'{"error": {"message": "busy"}}'
        self.send_response(503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(busy)))
        self.end_headers()
        self.wfile.write(busy)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Wire:
    """A server that keeps what it is sent, and a file that signs in to Google Cloud."""

    url: str
    received: list[tuple[str, str, list[tuple[str, str]], bytes]]
    user: Path

    def take(self) -> Facts:
        """Return the facts of the one request that came since the last time."""
        assert len(self.received) == 1, f"expected one request, found {len(self.received)}"
        [(method, target, headers, body)] = self.received
        self.received.clear()
        parts = urlsplit(target)
        facts = {"method": method, "path": parts.path}
        for what, pairs in (("query", parse_qsl(parts.query, keep_blank_values=True)), ("header", headers)):
            for name, value in pairs:  # the order says nothing; one that comes twice does
                key = f"{what} {name.lower() if what == 'header' else name}"
                facts[key] = f"{facts[key]}, {value}" if key in facts else value
        # The server has read as many bytes as it says; JSON can be written in several ways.
        facts.pop("header content-length", None)
        return facts | (dict(leaves("body", json.loads(body))) if body else {})


def leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield what a document holds, each with its path: "body messages.0.role"."""
    inner = [*value.items()] if isinstance(value, dict) else [*enumerate(value)] if isinstance(value, list) else []
    if not inner:
        yield path, json.dumps(value)
    for name, one in inner:
        yield from leaves(f"{path}{' ' if path == 'body' else '.'}{name}", one)


def _read_all(provider: ChatProvider, request: Request) -> None:
    for _ in provider.stream(request):
        pass


def provider_of(vendor: Vendor, wire: Wire, lane: str) -> ChatProvider:
    """Make a provider that asks on a lane."""
    values = {name: value.format(url=wire.url, user=wire.user) for name, value in vendor.settings.items()}
    if vendor.custom is not None:
        values[vendor.custom] = OWN_HEADERS
    settings = Settings(environment=values | ({vendor.transport: lane} if vendor.transport else {}))
    if vendor.other_name is not None:
        settings = settings.under_name(
            vendor.other_name, base_url=f"{wire.url}/v1", api_key_env="OPENAI_API_KEY", model="m-1"
        )
    made: ChatProvider = import_module(vendor.module).understudy_provider(settings)
    if vendor.transport is None and lane == "http":  # what it would send with the SDK's token
        with_token = HttpLane(wire.url, lambda: {"Authorization": f"Bearer {TOKEN}"}, {"accept": "*/*"})
        vars(made)["_lane"] = with_token
    return made


def play(provider: ChatProvider, vendor: Vendor, wire: Wire) -> dict[str, Facts]:
    """Ask everything in each way, and return what was sent by what was asked."""
    sent: dict[str, Facts] = {}

    def note(name: str, ask: Callable[[], object]) -> None:
        with suppress(Failure):
            ask()
        sent[name] = wire.take()

    async def note_async(name: str, request: Request) -> None:
        with suppress(Failure):
            await provider.agenerate(request)
        sent[f"agenerate, {name}"] = wire.take()
        events: Any = provider.astream(request)
        with suppress(Failure):
            async with aclosing(events):
                [event async for event in events]
        sent[f"astream, {name}"] = wire.take()

    async def note_all() -> None:
        for name, request in vendor.requests().items():
            await note_async(name, request)
        await provider.aclose()

    for name, request in vendor.requests().items():
        note(f"generate, {name}", partial(provider.generate, request))
        note(f"stream, {name}", partial(_read_all, provider, request))
    for method in vendor.also:
        note(method, getattr(provider, method))
    asyncio.run(note_all())
    return sent


OWN_HEADERS = "X-Team: blue\nAuthorization: Bearer stolen\nX-Api-Key: stolen\nOpenAI-Organization: stolen"
Found = dict[tuple[str, str | None, str | None], list[str]]  # what differs, and where


def compare(vendor: Vendor, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Ask everything on both lanes, and return what differs."""
    if vendor.custom is not None:
        monkeypatch.setenv(vendor.custom, OWN_HEADERS)  # the SDK looks there by itself
    if vendor.home is not None:
        monkeypatch.setattr(vendor.home, wire.url)
    lanes = []
    for lane in ("sdk", "http"):
        provider = provider_of(vendor, wire, lane)
        lanes.append(play(provider, vendor, wire))
        provider.close()
    return differences(*lanes)


def differences(sdk: Mapping[str, Facts], http: Mapping[str, Facts]) -> Found:
    """Return what differs, and in which requests."""
    assert sdk.keys() == http.keys()
    found: Found = {}
    for name in sdk:
        for what in sorted({*sdk[name], *http[name]}):
            one, other = sdk[name].get(what), http[name].get(what)
            if one != other:
                found.setdefault((what, one, other), []).append(name)
    return found


def allows(row: Row, what: str, sdk: str | None, http: str | None) -> bool:
    """Return whether a row declares a difference."""
    pairs = ((row.sdk, sdk), (row.http, http))
    return row.what == what and all(
        value is None if pattern is None else value is not None and re.fullmatch(pattern, value) is not None
        for pattern, value in pairs
    )


def undeclared(found: Found, rows: tuple[Row, ...]) -> list[str]:
    """Say which differences no row declares."""
    return [
        f"{what}: the SDK sends {_shown(sdk)}, the http lane {_shown(http)} ({where[0]}; {len(where)} requests)"
        for (what, sdk, http), where in found.items()
        if not any(allows(row, what, sdk, http) for row in rows)
    ]


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value[:100])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


# ---- the tests ----


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A server that keeps what it is sent."""
    user = tmp_path_factory.mktemp("user") / "user.json"
    user.write_text(json.dumps(USER), "utf-8")
    handler = type("Handler", (Recorder,), {"received": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Wire(f"http://127.0.0.1:{server.server_port}", handler.received, user)
        server.shutdown()


@pytest.fixture(scope="module")
def compared(wire: Wire) -> Callable[[str], Found]:
    """Return what compares the lanes of a vendor, once for all tests."""

    @cache
    def found(name: str) -> Found:
        with pytest.MonkeyPatch.context() as monkeypatch:
            return compare(VENDORS[name], wire, monkeypatch)

    return found


@pytest.mark.parametrize("name", VENDORS)
def test_both_lanes_send_the_same_but_for_what_is_declared(name: str, compared: Callable[[str], Found]) -> None:
    vendor = VENDORS[name]
    package, read, rows = DIFFERENCES[vendor.name]
    installed = version(package)
    if _numbers(installed) < _numbers(read):
        pytest.skip(f"the rows were read with {package} {read}, and {installed} is older")
    new = undeclared(compared(name), rows)
    listed = "\n  ".join(new)
    assert not new, (
        f"expected both lanes to send the same, but for the rows that were read with {package} {read}; found with "
        f"{package} {installed}:\n  {listed}\n{WHAT_TO_DO}"
    )


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_declared_difference_occurs(name: str, compared: Callable[[str], Found]) -> None:
    package, read, rows = DIFFERENCES[name]
    installed = version(package)
    if _numbers(installed) < _numbers(read):
        pytest.skip(f"the rows were read with {package} {read}, and {installed} is older")
    found = compared(name)
    gone = [row for row in rows if not any(allows(row, *one) for one in found)]
    listed = "\n  ".join(f"{row.what}: the SDK sent {_shown(row.sdk)} ({row.why})" for row in gone)
    assert not gone, (
        f"expected every row of DIFFERENCES[{name!r}] to occur with {package} {installed}, and these do not:\n  "
        f"{listed}\nRead in the SDK's changelog why it does not send it any more, and remove the row."
    )


def test_what_an_sdk_begins_to_send_is_seen(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = replace(VENDORS["claude elsewhere"], custom=None)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "anthropic-beta: new-2026-12-01")  # which the SDK alone sees here
    new = undeclared(compare(vendor, wire, monkeypatch), DIFFERENCES["claude"][2])
    [line] = new
    assert line.startswith("header anthropic-beta: the SDK sends 'new-2026-12-01', the http lane nothing (generate, ")


def test_what_differs_in_a_body_a_path_or_a_value_is_seen() -> None:
    sent = {"generate": {"path": "/v1/messages", "header accept": "*/*", "body max_tokens": "5", "query alt": "sse"}}
    [said] = undeclared(differences(sent, {"generate": {**sent["generate"], "path": "/v2/messages"}}), ENCODINGS)
    assert said == "path: the SDK sends '/v1/messages', the http lane '/v2/messages' (generate; 1 requests)"
    for what in sent["generate"]:
        less = {"generate": {name: value for name, value in sent["generate"].items() if name != what}}
        assert len(undeclared(differences(sent, less), ENCODINGS)) == 1
        assert len(undeclared(differences(less, sent), ENCODINGS)) == 1
    assert dict(leaves("body", {"a": [{"b": {}}, []], "c": 1.0})) == {
        "body a.0.b": "{}",
        "body a.1": "[]",
        "body c": "1.0",
    }


def test_a_row_declares_its_own_values_alone() -> None:
    row = Row("header accept-encoding", "gzip, deflate", "gzip", "")
    assert allows(row, "header accept-encoding", "gzip, deflate", "gzip")
    for sdk, http in (("gzip, deflate", None), (None, "gzip"), ("gzip, deflate, br", "gzip"), ("gzip, deflate", "br")):
        assert not allows(row, "header accept-encoding", sdk, http)
    assert not allows(row, "header accept", "gzip, deflate", "gzip")
