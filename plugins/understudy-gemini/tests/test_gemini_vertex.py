"""The provider `vertex`: the real google-auth and the real SDK over sockets of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from understudy import LLMResponse, Message, Request, Settings
from understudy.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderUnavailable,
    RateLimited,
    TransientFailure,
)
from understudy_gemini import GeminiProvider
from understudy_gemini.vertex import understudy_provider
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("hello"),), timeout=5)
TOKEN = "token-of-the-stand-in-0123456789"


class TokenServer(ThreadingHTTPServer):
    """Hands out access tokens as oauth2.googleapis.com does."""

    daemon_threads = True
    status = 200
    reply: dict[str, Any] = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
    asked = 0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, TokenServer)
        self.rfile.read(int(self.headers["content-length"]))
        server.asked += 1
        body = json.dumps(server.reply).encode()
        self.send_response(server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


def test_only_the_sdk_signs_in(tmp_path: Path) -> None:
    settings = {"GOOGLE_CLOUD_PROJECT": "p1", "GEMINI_TRANSPORT": "http"}  # which is not vertex's
    assert understudy_provider(Settings(environment=settings))._connection.account.transport == "sdk"
    with pytest.raises(ConfigurationError, match=r'VERTEX_TRANSPORT in the environment: expected "sdk", found .http.'):
        understudy_provider(Settings(environment={**settings, "VERTEX_TRANSPORT": "http"}))


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    with TokenServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*pem).decode()


@pytest.fixture
def service_account(tmp_path: Path, token_server: TokenServer, private_key: str) -> str:
    file = tmp_path / "service-account.json"
    account = {
        "type": "service_account",
        "project_id": "p1",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "robot@p1.example",
        "token_uri": f"http://127.0.0.1:{token_server.server_port}/token",
    }
    file.write_text(json.dumps(account), encoding="utf-8")
    return str(file)


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Callable[..., GeminiProvider]]:
    made: list[GeminiProvider] = []

    def make(**settings: str) -> GeminiProvider:
        environment = {"GOOGLE_CLOUD_PROJECT": "p1", "VERTEX_BASE_URL": sandbox.gemini.url, **settings}
        made.append(understudy_provider(Settings(environment=environment)))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def provider(connect: Callable[..., GeminiProvider], service_account: str) -> GeminiProvider:
    return connect(GOOGLE_APPLICATION_CREDENTIALS=service_account)


def test_the_request_goes_to_the_project_with_a_token(
    provider: GeminiProvider, sandbox: Sandbox, token_server: TokenServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-for-something-else")
    response = ask(provider, ASKED)
    assert response.success
    assert response.provider_name == "vertex"
    (request,) = sandbox.gemini.requests
    where = "/v1beta1/projects/p1/locations/global/publishers/google/models/gemini-3.5-flash-lite:"
    assert request.path.startswith(where)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-goog-api-key" not in request.headers
    ask(provider, ASKED)
    assert token_server.asked == 1


def test_location_model_and_options_are_vertexs(
    connect: Callable[..., GeminiProvider], service_account: str, sandbox: Sandbox
) -> None:
    settings = {"GOOGLE_CLOUD_LOCATION": "europe-west4", "VERTEX_MODEL": "gemini-2.5-flash-lite"}
    provider = connect(GOOGLE_APPLICATION_CREDENTIALS=service_account, **settings)
    provider.generate(Request(messages=ASKED.messages, options={"vertex": {"labels": {"team": "a"}}}))
    (request,) = sandbox.gemini.requests
    assert "/locations/europe-west4/" in request.path
    assert "/models/gemini-2.5-flash-lite:" in request.path
    assert request.json["labels"] == {"team": "a"}


@pytest.mark.parametrize("variable", ["GOOGLE_CLOUD_LOCATION", "VERTEX_LOCATION"])
def test_a_region_without_the_model_is_told_before_anything_is_sent(
    connect: Callable[..., GeminiProvider],
    service_account: str,
    sandbox: Sandbox,
    token_server: TokenServer,
    ask: Ask,
    variable: str,
) -> None:
    provider = connect(GOOGLE_APPLICATION_CREDENTIALS=service_account, **{variable: "us-central1"})
    words = f"{variable} is us-central1, and Vertex AI has gemini-3.5-flash-lite in global, us, eu alone"
    assert str(provider.unavailable_reason()).startswith(words)
    assert not provider.is_available()
    assert str(provider.model_notice("gemini-3.5-flash-lite")).startswith(words)
    with pytest.raises(ProviderUnavailable, match=words):
        ask(provider, ASKED)
    with pytest.raises(ProviderUnavailable, match="has gemini-4-argon in global"):
        ask(provider, Request(messages=ASKED.messages, model="gemini-4-argon"))
    assert (sandbox.gemini.request_count, token_server.asked) == (0, 0)
    assert ask(provider, Request(messages=ASKED.messages, model="gemini-2.5-flash-lite")).success
    assert "/locations/us-central1/" in sandbox.gemini.requests[0].path


@pytest.mark.parametrize("location", ["global", "us", "eu"])
def test_our_own_variable_for_the_location_stands_above_googles(
    connect: Callable[..., GeminiProvider], service_account: str, sandbox: Sandbox, location: str
) -> None:
    both = {"VERTEX_LOCATION": location, "GOOGLE_CLOUD_LOCATION": "us-central1"}
    provider = connect(GOOGLE_APPLICATION_CREDENTIALS=service_account, **both)
    assert provider.unavailable_reason() is None
    assert provider.model_notice("gemini-3.5-flash-lite") is None
    assert provider.generate(ASKED).success
    assert f"/locations/{location}/" in sandbox.gemini.requests[0].path


def test_what_vertex_has_of_googles_models_is_listed(
    provider: GeminiProvider, sandbox: Sandbox, token_server: TokenServer
) -> None:
    assert "gemini-3.5-flash-lite" in provider.list_models()
    (request,) = sandbox.gemini.requests
    assert (request.method, request.path) == ("GET", "/v1beta1/publishers/google/models")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_refused_token_is_no_matter_of_keys(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    sandbox.gemini.next(faults.status(401))
    with pytest.raises(AuthenticationFailed) as caught:
        ask(provider, ASKED)
    assert "AI Studio" not in caught.value.message


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
    ],
)
def test_each_location_has_its_host(location: str, url: str) -> None:
    settings = Settings(environment={"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_CLOUD_LOCATION": location})
    assert url in repr(vars(understudy_provider(settings)))


def test_a_429_without_details_is_a_rate_limit(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    sandbox.gemini.next(faults.rate_limited())
    with pytest.raises(RateLimited, match="Resource exhausted") as caught:
        ask(provider, ASKED)
    assert (caught.value.provider, caught.value.retry_after) == ("vertex", None)


def test_a_token_that_is_refused(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    sandbox.gemini.next(faults.status(401))
    with pytest.raises(AuthenticationFailed):
        ask(provider, ASKED)
    assert sandbox.gemini.request_count == 1


@pytest.mark.parametrize("type_", ["authorized_user", "found by the library"])
def test_credentials_of_a_user(
    connect: Callable[..., GeminiProvider], sandbox: Sandbox, tmp_path: Path, type_: str
) -> None:
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token": TOKEN}
    file = tmp_path / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**user, "expiry": "2099-01-01T00:00:00Z"}), encoding="utf-8")
    settings = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)} if type_ == "authorized_user" else {}
    assert connect(**settings).generate(ASKED).success
    assert sandbox.gemini.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_no_credentials_anywhere(connect: Callable[..., GeminiProvider], sandbox: Sandbox, ask: Ask) -> None:
    provider = connect()
    assert provider.is_available()  # whether there are credentials is only known by looking for them
    with pytest.raises(ProviderUnavailable, match="gcloud auth application-default login"):
        ask(provider, ASKED)
    assert sandbox.gemini.request_count == 0


@pytest.mark.parametrize("content", [None, "not JSON", '{"type": "service_account"}'])
def test_a_credentials_file_that_is_none(
    connect: Callable[..., GeminiProvider], tmp_path: Path, ask: Ask, content: str | None
) -> None:
    file = tmp_path / "credentials.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ProviderUnavailable, match="GOOGLE_APPLICATION_CREDENTIALS"):
        ask(connect(GOOGLE_APPLICATION_CREDENTIALS=str(file)), ASKED)


def test_no_project() -> None:
    provider = understudy_provider(Settings(environment={}))
    assert str(provider.unavailable_reason()).startswith("GOOGLE_CLOUD_PROJECT is not set")


def test_googles_token_follows_no_address_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[providers.near]\nuses = "vertex"\nbase_url = "http://127.0.0.1:1"\n')
    settings = Settings(environment={"GOOGLE_CLOUD_PROJECT": "project-1"}, directory=tmp_path)
    refused = understudy_provider(settings.for_provider("near")).unavailable_reason()
    assert refused is not None
    assert "[providers.near]" in refused
    assert "VERTEX_BASE_URL" in refused
    assert understudy_provider(settings).unavailable_reason() is None


def test_the_token_server_refuses(
    provider: GeminiProvider, sandbox: Sandbox, token_server: TokenServer, ask: Ask
) -> None:
    token_server.status, token_server.reply = 400, {"error": "invalid_grant", "error_description": "Account not found"}
    with pytest.raises(ProviderUnavailable, match="Account not found"):
        ask(provider, ASKED)
    assert sandbox.gemini.request_count == 0


def test_nobody_listens_at_the_token_server(
    provider: GeminiProvider, sandbox: Sandbox, token_server: TokenServer, ask: Ask
) -> None:
    token_server.shutdown()
    token_server.server_close()
    with pytest.raises(TransientFailure):  # urllib3 counts a refused connection among its timeouts
        ask(provider, ASKED)
    assert sandbox.gemini.request_count == 0
