"""TLS with certificates of one's own, and proxies between us and the vendor."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from pathlib import Path

import pytest
from peers import CERTIFICATES, KEY, Peer, Server, Way, answers, lane_to, whole

from understudy.errors import ConnectionFailed, ProviderUnavailable
from understudy_toolkit import tls
from understudy_toolkit.http import HttpLane

FINE = whole(b'{"fine": true}')
SEVERAL = answers(*[FINE] * 10)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority of the tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))


def secured(peer: Peer) -> None:
    peer.secure()
    SEVERAL(peer)


def in_a_tunnel(peer: Peer) -> None:
    peer.request()
    peer.say(b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n")
    secured(peer)


# ---- TLS ----


@pytest.mark.usefixtures("trusting")
def test_a_certificate_that_ssl_cert_file_vouches_for_is_trusted(way: Way) -> None:
    with Server(secured) as server, lane_to(f"https://127.0.0.1:{server.port}") as lane:
        for _ in range(2):
            assert way(lane, way.ask()).status == 200
    assert server.connections == (2 if way.is_async else 1)  # each run has an event loop of its own
    assert b"host: 127.0.0.1:" in server.requests[0].lower()


def test_a_certificate_that_nobody_vouches_for_is_not(way: Way) -> None:
    with Server(secured) as server, lane_to(f"https://127.0.0.1:{server.port}") as lane:
        with pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
            way(lane, way.ask())
    assert server.requests == []


@pytest.mark.usefixtures("trusting")
def test_a_certificate_for_another_host_is_not(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(secured) as server, lane_to(f"https://other.example:{server.port}") as lane:
        here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [here])
        with pytest.raises(ConnectionFailed, match=r"other\.example"):
            way(lane, way.ask())
    assert server.requests == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_make_the_provider_unavailable(
    way: Way, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    with lane_to("https://vendor.example") as lane:
        lane.prepare()  # tells nothing
        with pytest.raises(ProviderUnavailable, match=f"{variable}: expected certificates"):
            way(lane, way.ask())


def test_a_file_without_certificates_makes_the_provider_unavailable(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "file.pem"))
    with lane_to("https://vendor.example") as lane:
        with pytest.raises(ProviderUnavailable, match="expected certificates in PEM form"):
            way(lane, way.ask())


def test_there_is_one_context_for_the_process_and_none_is_loaded_where_none_is_needed() -> None:
    one, other = tls.context_for("https://a.example"), tls.context_for("https://b.example/v1")
    assert one is other
    assert one.verify_mode == ssl.CERT_REQUIRED
    assert one.check_hostname
    here = tls.context_for("http://127.0.0.1:8080")
    assert (here.cert_store_stats()["x509"], here.verify_mode) == (0, ssl.CERT_REQUIRED)


# ---- proxies ----


def _proxy(monkeypatch: pytest.MonkeyPatch, variable: str, server: Server, login: str = "") -> None:
    monkeypatch.setenv(variable, f"http://{login}127.0.0.1:{server.port}")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_passes_on_what_is_plain(way: Way, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(SEVERAL) as server, lane_to("http://vendor.example/base") as lane:
        _proxy(monkeypatch, variable, server, "me:p%40ss@")
        assert way(lane, way.ask(query={"a": "b"})).status == 200
    request = server.requests[0].decode()
    assert request.startswith("POST http://vendor.example/base/v1/messages?a=b HTTP/1.1\r\n")
    assert f"proxy-authorization: basic {base64.b64encode(b'me:p@ss').decode().lower()}" in request.lower()
    assert "host: vendor.example\r\n" in request.lower()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_sees_nothing_of_what_is_secret(way: Way, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(in_a_tunnel) as server, lane_to("https://vendor.example") as lane:
        _proxy(monkeypatch, variable, server, "me:secret@")
        assert way(lane, way.ask()).status == 200
    tunnel, request = server.requests
    assert tunnel.startswith(b"CONNECT vendor.example:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic" in tunnel.lower()
    assert KEY.encode() not in tunnel
    assert request.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert KEY.encode() in request
    assert b"proxy" not in request.lower()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("reply", [whole(b"", status="407 Proxy Authentication Required"), b"", b"HTTP/1.1 200"])
def test_a_proxy_that_opens_no_tunnel_is_a_failed_connection(
    way: Way, reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(peer: Peer) -> None:
        peer.request()
        peer.say(reply)

    with Server(refuse) as server, lane_to("https://vendor.example") as lane:
        _proxy(monkeypatch, "HTTPS_PROXY", server, "me:secret-word@")
        with pytest.raises(ConnectionFailed) as caught:
            way(lane, way.ask())
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("value", ["*", "vendor.example", "other.example,.example"])
def test_no_proxy_names_hosts_that_are_reached_directly(way: Way, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with lane_to("http://vendor.example:9") as lane, pytest.raises(ConnectionFailed, match=r"vendor\.example"):
        way(lane, way.ask())  # the host is unknown, and nobody has asked the proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_for_this_machine_goes_through_a_proxy(way: Way, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with Server(SEVERAL) as server, lane_to(f"http://{host}:{server.port}") as lane:
        assert way(lane, way.ask()).status == 200


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTPS_PROXY", "http://host:port", "cannot be read"),
        ("HTTPS_PROXY", "http://", "cannot be read"),
        ("HTTPS_PROXY", "http://[::1", "cannot be read"),
        ("ALL_PROXY", "socks5://me:secret-word@127.0.0.1:1080", "socks5://"),
        ("https_proxy", "https://proxy.example", "https://"),
    ],
)
def test_a_proxy_that_cannot_be_used_makes_the_provider_unavailable(
    way: Way, variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with lane_to("https://vendor.example") as lane:
        lane.prepare()  # tells nothing
        with pytest.raises(ProviderUnavailable, match=f"{variable}: expected a proxy") as caught:
            way(lane, way.ask())
        assert words in str(caught.value)
        assert "secret-word" not in str(caught.value)


def test_a_login_in_the_address_is_in_no_request_and_no_representation(way: Way) -> None:
    with Server(SEVERAL) as server:
        lane = HttpLane(f"http://me:secret-word@127.0.0.1:{server.port}", dict)
        assert way(lane, way.ask()).status == 200
        lane.close()
    assert "secret-word" not in repr(lane)
    assert b"secret" not in server.requests[0]
    assert "authorization" not in os.fsdecode(server.requests[0]).lower()
