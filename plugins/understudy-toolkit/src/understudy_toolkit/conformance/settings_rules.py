"""Rules of the contract: where a request goes and with what; only the provider's own settings decide it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from understudy.errors import Failure, Overloaded, ServerError
from understudy.provider import ChatProvider
from understudy_toolkit.conformance.asking import REQUEST, WAYS, Way
from understudy_toolkit.conformance.fault_server import FaultServer, Reply
from understudy_toolkit.conformance.setup import ContractSetup

STOLEN = "stolen-and-not-to-be-sent"
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
EXCEPTIONS = ("NO_PROXY", "no_proxy")
THIS_MACHINE = ("localhost", "127.0.0.2", "[::1]", "a.localhost")
NO_ADDRESSES = ("", "vendor.example", "ftp://vendor.example")
NOBODY = 9  # the discard port: nobody listens there
BUSY = Reply("busy", 503)


class SettingsRules(ContractSetup):
    """Where a request goes, and with what."""

    def test_a_malformed_address_is_refused(self, provider: ChatProvider) -> None:
        setting = self.stated("url_setting")
        for wrong in NO_ADDRESSES:
            reason = self.make(**{setting: wrong}).unavailable_reason()
            assert setting in (reason or ""), (
                f"expected {setting}={wrong!r} to be refused, by its name, when the provider is made, found {reason!r}"
                f"; read it with settings.base_url({setting!r}, default=...)"
            )

    def test_the_model_is_the_requests_then_the_settings(self, provider: ChatProvider) -> None:
        setting, another = self.stated("model_setting"), f"{self.another_model}-of-the-settings"
        self.arrange("text")
        own = self.make(**{setting: another})
        sent = []
        for model in (None, self.another_model):
            WAYS[0](own, replace(REQUEST, model=model))
            sent.append(self.seen())
        own.close()
        assert another in sent[0], f"expected the model of {setting} to be asked, found {sent[0]:.300}"
        preferred = self.another_model in sent[1] and another not in sent[1]
        assert preferred, f"expected request.model to be asked rather than that of {setting}, found {sent[1]:.300}"

    def test_nothing_of_the_environment_is_read(
        self, ask: Way, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.arrange("text")
        with self._astray(monkeypatch) as elsewhere:
            own = self.make()
            assert ask(own, REQUEST).success
            own.close()
        self._is_led_nowhere(elsewhere)

    def test_a_local_address_needs_no_proxy(self, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = self.stated("url_setting")
        with self._astray(monkeypatch) as elsewhere:
            for host in THIS_MACHINE:
                own = self.make(**{setting: f"http://{host}:{NOBODY}{self.url_path}"})
                WAYS[0].fails(own, REQUEST, f"nobody listens at {host}")
                own.close()
                assert not elsewhere.requests, (
                    f"expected {host} to be asked without the proxy of the environment, which cannot reach this "
                    "machine for others; found the request at the proxy; see "
                    "understudy_toolkit.clients.is_this_machine"
                )

    def test_a_proxy_is_used_for_other_hosts(
        self, ask: Way, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setting = self.stated("url_setting")
        self.stated("uses_proxies")
        with FaultServer(lambda request: BUSY) as proxy:
            _set_proxies(monkeypatch, proxy.url)
            own = self.make(**{setting: f"http://vendor.example{self.url_path}"})
            failure = ask.fails(own, REQUEST, "the proxy answers 503")
            proxy.answer = lambda request: Reply(b"", 307, headers={"location": "http://elsewhere.example/"})
            ask.fails(own, REQUEST, "the proxy answers 307")
            own.close()
        found = [request.path for request in proxy.requests]
        assert _all_begin_with("http://vendor.example/", found), (
            f"expected HTTP_PROXY to be asked for http://vendor.example/ (uses_proxies is True), found {found} there"
        )
        assert isinstance(failure, Overloaded | ServerError), f"expected the proxy's 503, found {failure!r}"
        assert len(found) == 2, f"expected a redirection not to be followed, found {found} asked"

    def test_a_path_in_its_address_is_kept(self, ask: Way, provider: ChatProvider) -> None:
        setting = self.stated("url_setting")
        with FaultServer(lambda request: BUSY) as elsewhere:
            own = self.make(**{setting: f"{elsewhere.url}/a/gateway{self.url_path}/"})
            ask.fails(own, REQUEST, "a gateway answers 503")
            own.close()
        found = [request.path for request in elsewhere.requests]
        expected = f"/a/gateway{self.url_path}/"
        assert _all_begin_with(expected, found), (
            f"expected a path that begins with {expected}, as {setting} says, found {found}; join what you add to it"
        )

    def test_another_name_has_another_address_model_and_key(self, provider: ChatProvider) -> None:
        self.stated("has_other_names")
        with FaultServer(lambda request: BUSY) as elsewhere:
            table = f'uses = "{self.name}"\nbase_url = "{elsewhere.url}{self.url_path}"\nmodel = "stranger-1"\n'
            for key, value in (("", ""), ("STRANGER_API_KEY", ""), ("STRANGER_API_KEY", "strangers-own-key")):
                own_table = f'[providers.stranger]\n{table}api_key_env = "{key}"\n'
                (self.folder / "understudy.toml").write_text(own_table, "utf-8")
                (self.folder / ".env").write_text(f"STRANGER_API_KEY={value}\n", "utf-8")
                own = self.make("stranger")
                if key and not value:
                    assert key in (own.unavailable_reason() or ""), (
                        f"expected {key} to be wanted, as its table says, found {own.unavailable_reason()!r}"
                    )
                    continue
                failure = WAYS[0].fails(own, REQUEST, "a server of one's own answers 503")
                own.close()
                self._is_the_strangers(failure, elsewhere, value)
        assert not self.request_count(), "expected the vendor not to be asked, found a request"

    def _is_the_strangers(self, failure: Failure, elsewhere: FaultServer, key: str) -> None:
        assert failure.model == "stranger-1", f"expected a failure of the table's model, found {failure.model!r}"
        last = elsewhere.requests[-1]
        sent = f"{last.path}\n{last.headers}\n{last.body!r}"
        assert "stranger-1" in sent, "expected the model of the table to be asked, found another"
        own = self.given().get(self.key or "")
        assert not own or own not in sent, (
            "expected the vendor's key to be sent to the vendor alone, found it elsewhere"
        )
        assert key in sent, "expected the key that the table names to be sent, found it left out"

    @contextmanager
    def _astray(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
        """Let the environment name another key, and another address for whatever sends something."""
        with FaultServer(lambda request: BUSY) as elsewhere:
            for name, value in self.astray(elsewhere.url).items():
                monkeypatch.setenv(name, value)
            for name in EXCEPTIONS:
                monkeypatch.delenv(name, raising=False)
            yield elsewhere

    def astray(self, url: str) -> dict[str, str]:
        """Return an environment that misleads a provider which reads it."""
        own = {name: text.format(stolen=STOLEN, elsewhere=url) for name, text in self.read_by_sdk.items()}
        proxies = dict.fromkeys(PROXIES, url)
        named = {self.key: STOLEN, self.url_setting: f"{url}{self.url_path}"}
        return {**proxies, **{name: value for name, value in named.items() if name is not None}, **own}

    def _is_led_nowhere(self, elsewhere: FaultServer) -> None:
        cure = "give your SDK every value that it would look for in the environment, and no proxy for this machine"
        found = [f"{request.method} {request.path}" for request in elsewhere.requests]
        assert not found, f"expected nothing to be sent to an address of the environment, found {found} there; {cure}"
        headers = self.received_headers()
        if headers is None:
            return
        sent = f"{dict(headers)}\n{self.received()}"
        assert STOLEN not in sent, f"expected nothing of the environment to be sent, found a value of it; {cure}"
        key = self.given().get(self.key or "")
        assert not key or key in sent, "expected the key of the settings to be sent, found it left out"


def _set_proxies(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, url)
    for name in EXCEPTIONS:
        monkeypatch.delenv(name, raising=False)


def _all_begin_with(expected: str, paths: list[str]) -> bool:
    begun = all(path.startswith(expected) and not path.startswith(f"{expected}/") for path in paths)
    return bool(paths) and begun
