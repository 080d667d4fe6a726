"""No failure of a provider carries the key: not its exceptions, what they hold, their copies, nor what shows them."""

from __future__ import annotations

import asyncio
import pickle
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

import pytest

from understudy import ChatProvider, Message, Request, Secret, Settings
from understudy.errors import AuthenticationFailed, Failure, Timeout

KEY = "not-a-real-key-0123456789"
LOGIN = "me:pass%21word"
WORDS = (KEY, "pass%21word", "pass!word", "bWU6cGFzcyF3b3Jk")  # the last as a header has it
# The variables of each provider: of its key, its address and its lane, and what its address ends with.
PROVIDERS = {
    "understudy_claude": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_TRANSPORT", ""),
    "understudy_openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_TRANSPORT", "/v1"),
    "understudy_gemini": ("GOOGLE_API_KEY", "GEMINI_BASE_URL", "GEMINI_TRANSPORT", ""),
    "understudy_cohere": ("COHERE_API_KEY", "COHERE_BASE_URL", "COHERE_TRANSPORT", ""),
    "understudy_ollama": ("OLLAMA_API_KEY", "OLLAMA_BASE_URL", "OLLAMA_TRANSPORT", ""),
}


class Refuses(BaseHTTPRequestHandler):
    """Answers 401, or hangs up in the middle of a reply: the path says which."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b'{"error": {"message": "no", "type": "t", "code": "c"}}'
        cut = self.path.startswith("/cut")
        self.send_response(200 if cut else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) + (100 if cut else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a server that refuses."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """Yield an exception, and those that it came from or while handling."""
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from chain(error.__cause__, seen)
        yield from chain(error.__context__, seen)


def hold(found: Any, seen: set[int], path: str, depth: int = 8) -> Iterator[str]:
    """Yield the paths on which an object holds a key; not behind a Secret, a socket or a lock."""
    if isinstance(found, str | bytes):
        text = found if isinstance(found, str) else found.decode("latin-1")
        if any(word in text for word in WORDS):
            yield path
    elif depth and id(found) not in seen and not isinstance(found, Secret | type | int | float):
        seen.add(id(found))
        parts = dict(getattr(found, "__dict__", None) or {})
        for kind in type(found).__mro__:
            slots = kind.__dict__.get("__slots__") or ()
            parts |= {name: getattr(found, name, None) for name in ([slots] if isinstance(slots, str) else slots)}
        if isinstance(found, dict):
            parts = {repr(name)[:40]: value for name, value in found.items()}
        elif isinstance(found, list | tuple | set | frozenset):
            parts = {str(place): value for place, value in enumerate(found)}
        for name, value in parts.items():
            yield from hold(value, seen, f"{path}.{name}", depth - 1)


def places(error: Failure) -> list[str]:
    """Name where a failure carries the key."""
    found = []
    for one in chain(error, set()):
        found += hold([one.args, one], set(), type(one).__name__)
        try:
            pickled = pickle.dumps(one).decode("latin-1")
        except Exception:  # of an SDK's own, which is not meant to be pickled
            pickled = ""
        found += [f"{type(one).__name__} pickled" for word in WORDS if word in pickled + repr(one) + str(one)]
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return found + [line.strip()[:200] for line in shown.splitlines() if any(word in line for word in WORDS)]


def fail(provider: ChatProvider, way: str) -> Failure:
    request = Request(messages=(Message.user("hello"),), timeout=20.0)
    try:
        if way == "sync":
            provider.generate(request)
        elif way == "async":
            asyncio.run(_fail_async(provider, request))
        else:
            list(provider.stream(request))
    except Failure as error:
        return error
    raise AssertionError("it answered")


async def _fail_async(provider: ChatProvider, request: Request) -> None:
    await provider.agenerate(request)


@pytest.mark.parametrize("login", ["", f"{LOGIN}@"], ids=["key", "login"])
@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("module", PROVIDERS)
def test_no_exception_on_the_chain_of_a_failure_carries_the_key(
    module: str, lane: str, login: str, address: str
) -> None:
    key, url, transport, ending = PROVIDERS[module]
    found = {}
    for path in ("", "/cut"):
        settings = {url: f"http://{login}{address}{path}{ending}", key: KEY, transport: lane}
        provider = import_module(module).understudy_provider(Settings(environment=settings))
        assert not any(word in repr(provider) + str(vars(provider)) for word in WORDS)
        for way in ("sync", "async", "stream"):
            found[path, way] = places(fail(provider, way))
    assert {case: where for case, where in found.items() if where} == {}


def test_a_code_and_an_id_are_masked_as_the_message_is() -> None:
    secret = Secret("parrot-secret-4711-abcdef").reveal()
    for value in (secret, f"sk-{'x' * 20}", f"Bearer {'t' * 20}"):
        failure = Timeout(value, code=value, request_id=f"req {value}")
        copy = pickle.loads(pickle.dumps(failure))
        hidden = value.removeprefix("Bearer ")
        for one in (failure, copy):
            assert hidden not in f"{one!r} {one} {vars(one)}"
            assert "***" in str(one.code)
            assert "***" in str(one.request_id)
    assert AuthenticationFailed("", code="invalid_api_key", request_id="req_011CS").code == "invalid_api_key"


def test_a_password_in_an_address_shows_nowhere(tmp_path: Any) -> None:
    for login in ("me:pw", "pw", "me:pass%21word-4712"):
        (tmp_path / "understudy.toml").write_text(
            f'[providers.near]\nuses = "openai"\nbase_url = "http://{login}@h.example/v1"\napi_key_env = ""\n'
        )
        settings = Settings(environment={}, directory=tmp_path).for_provider("near")
        url = settings.base_url("OPENAI_BASE_URL", default="")
        shown = f"{settings!r} {settings.tables!r} {Timeout(f'no answer from {url} in time', code=url)!r}"
        assert "pw" not in shown
        assert "word-4712" not in shown
        assert "h.example/v1 in time" in shown
