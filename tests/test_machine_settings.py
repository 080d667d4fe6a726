"""A proxy or a certificate file of the machine that cannot be used: told by its variable, before anything is sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from understudy import Finish, LLMFactory, Policy
from understudy.errors import ConnectionFailed, Failure, ProviderUnavailable
from understudy.testing import no_waiting

KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-x",
    "OPENAI_API_KEY": "sk-x",
    "GOOGLE_API_KEY": "AIza" + "x" * 35,
    "COHERE_API_KEY": "not-a-real-key-of-coheres-0123456789abcd",
    "OLLAMA_API_KEY": "k",
}
HOST = "vendor.invalid"  # which no name server knows
URLS = {
    "claude": "ANTHROPIC_BASE_URL",
    "openai": "OPENAI_BASE_URL",
    "gemini": "GEMINI_BASE_URL",
    "gemini-legacy": "GEMINI_LEGACY_BASE_URL",
    "cohere": "COHERE_BASE_URL",
    "ollama": "OLLAMA_BASE_URL",
}
LANES = [
    *((name, lane) for name in URLS if name != "gemini-legacy" for lane in ("sdk", "http")),
    ("gemini-legacy", "sdk"),
]
VARIABLES = (
    *(f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
SECRET = "secret-word"

# What each says of what is wrong; {} is a directory of the test's. Of a kind of proxy that a lane can use, nothing.
PROXIES = {
    "socks://127.0.0.1:7890": "found socks://",
    f"socks4://me:{SECRET}@127.0.0.1:1": "found socks4://",
    f"ftp://me:{SECRET}@127.0.0.1:1": "found ftp://",
    f"http://me:{SECRET}#1@127.0.0.1:1": "cannot be read",
    f"http://me:{SECRET}@127.0.0.1:port": "cannot be read",
    f"http://me:{SECRET}@": "cannot be read",
    "http://127.0.0.1:99999": "cannot be read",
    "http://127.0.0.1:0": "cannot be read",
    "http://[::1": "cannot be read",
    "http//proxy.example:80": "cannot be read",
    "'http://proxy.example:80'": "cannot be read",
    "http://a proxy:80": "cannot be read",
    "://": "cannot be read",
}
CERTIFICATES = {
    "{}/nothing.pem": "found nothing there",
    "{}/empty.pem": "in PEM form",
    "{}/words.pem": "in PEM form",
    "{}/circle.pem": "found nothing there",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "words.pem").write_text("no certificate", "utf-8")
    (tmp_path / "circle.pem").symlink_to("circle.pem")
    (tmp_path / "folder").mkdir()


@contextmanager
def _factory(name: str, lane: str, url: str = f"https://{HOST}") -> Iterator[LLMFactory]:
    settings = {**KEYS, URLS[name]: url, f"{name.upper()}_TRANSPORT": lane}
    with LLMFactory(name, ["echo"], policy=Policy.patient(), settings=settings, extensions=[]) as factory:
        yield factory


def _failures(factory: LLMFactory) -> list[Failure | None]:
    """Ask in all four ways, where the backup answers and nothing is waited for: the first failure of each."""

    async def on_loop() -> list[LLMFactory]:
        whole = await factory.agenerate_content("Hello", temperature=None)
        *_, last = [event async for event in factory.astream_content("Hello", temperature=None)]
        await factory.aclose()
        return [whole, last.response]

    with no_waiting() as waits:
        *_, last = factory.stream_content("Hello", temperature=None)
        assert isinstance(last, Finish)
        responses = [factory.generate_content("Hello", temperature=None), last.response, *asyncio.run(on_loop())]
        assert sum(waits) == 0
    assert [response.provider_name for response in responses] == ["echo"] * 4
    assert {len(response.attempts) for response in responses} == {2}
    return [response.attempts[0].failure for response in responses]


def _expect(factory: LLMFactory, variable: str, words: str) -> None:
    factory.warm_up()
    status = factory.get_provider_status()["primary"]
    for failure in _failures(factory):
        assert isinstance(failure, ProviderUnavailable)
        assert f"{variable}: expected" in str(failure)
        assert words in str(failure)
        assert SECRET not in repr(failure) + str(failure)
    assert status["available"] is False or "PEM" in words  # a file's content is looked at by the first attempt
    assert factory.get_provider_status()["primary"]["available"] is False
    assert factory.route[0][1].unavailable_reason() in str(failure)


def _needs_package(name: str, lane: str, kind: str) -> bool:
    package = "socks" if name == "gemini-legacy" else "socksio"
    return lane == "sdk" and (kind == "socks5" or name == "gemini-legacy") and find_spec(package) is None


@pytest.mark.parametrize(("name", "lane"), LANES)
def test_a_proxy_that_cannot_be_used_is_told_by_its_variable(
    name: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (value, words) in enumerate(PROXIES.items()):
        variable = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")[number % 4]
        with monkeypatch.context() as here, _factory(name, lane) as factory:
            here.setenv(variable, value)
            _expect(factory, variable, words)


@pytest.mark.parametrize(("name", "lane"), LANES)
def test_a_proxy_that_needs_a_package_is_told_with_it(name: str, lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://me:{SECRET}@127.0.0.1:1080")
    if lane == "sdk" and not _needs_package(name, lane, "socks5"):
        pytest.skip("the package is installed")
    words = "choose the vendor's SDK" if lane == "http" else "which needs the package"
    with _factory(name, lane) as factory:
        _expect(factory, "ALL_PROXY", words)


@pytest.mark.parametrize(("name", "lane"), LANES)
def test_certificates_that_cannot_be_read_are_told_by_their_variable(
    name: str, lane: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_old = name == "gemini-legacy"
    rows = [
        (variable, value, words)
        for value, words in CERTIFICATES.items()
        for variable in (("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if is_old else ("SSL_CERT_FILE",))
    ]
    if not is_old:
        rows += [
            ("SSL_CERT_FILE", "{}/folder", "found a directory"),
            ("SSL_CERT_DIR", "{}/nothing", "found nothing there"),
            ("SSL_CERT_DIR", "{}/words.pem", "found a file"),
            ("SSL_CERT_DIR", "{}/folder", "under their hashes"),
        ]
    for variable, value, words in rows:
        with monkeypatch.context() as here, _factory(name, lane) as factory:
            here.setenv(variable, value.format(tmp_path))
            _expect(factory, variable, words)


@pytest.mark.parametrize(("name", "lane"), LANES)
def test_what_does_not_concern_the_address_changes_nothing(
    name: str, lane: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    look_up = socket.getaddrinfo

    def know_nobody(host: str, *arguments: Any, **more: Any) -> Any:
        if host in (HOST, HOST.encode()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", know_nobody)  # name servers may take as long as they like
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        here = f"http://127.0.0.1:{taken.getsockname()[1]}"  # where nobody listens
        rows = [
            (f"https://{HOST}", {"HTTP_PROXY": "socks://x", "HTTPS_PROXY": "", "ALL_PROXY": "  "}),
            (f"https://{HOST}", {"HTTPS_PROXY": "socks://x", "NO_PROXY": f"[::1, //, ,{HOST}"}),
            (f"https://{HOST}", {"ALL_PROXY": "http://[::1", "no_proxy": "*"}),
            (f"https://{HOST}", {"NO_PROXY": "[::1, http://[, 10.0.0.0/99"}),
            (f"https://{HOST}", {"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}),
            (here, dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "socks://x")),
            (here, dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), "/no/such/file.pem")),
            (
                f"https://{HOST}",
                {"SSL_CERT_FILE" if name == "gemini-legacy" else "REQUESTS_CA_BUNDLE": "/no/such/file"},
            ),
        ]
        for url, variables in rows:
            with monkeypatch.context() as set_here, _factory(name, lane, url) as factory:
                for variable, value in variables.items():
                    set_here.setenv(variable, value)
                factory.warm_up()
                assert factory.route[0][1].unavailable_reason() is None
                response = factory.generate_content("Hello", temperature=None, max_retries=0)
                assert type(response.attempts[0].failure) is ConnectionFailed, (variables, response.attempts[0].failure)
