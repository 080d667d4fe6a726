"""Rules of the contract: names, settings and keys, before anything is asked."""

from __future__ import annotations

import logging

import pytest

from understudy.errors import ProviderUnavailable
from understudy.provider import Capabilities, ChatProvider
from understudy.routing.adapters import PlainProvider
from understudy_toolkit.conformance.asking import REQUEST, WAYS, Way
from understudy_toolkit.conformance.setup import ContractSetup

BAD_KEY = "bad key\twith-blanks-in-it"
ANOTHER_KEY = "another-key-that-is-not-real"


class IdentityRules(ContractSetup):
    """Names, settings and keys."""

    def test_its_name_is_the_name_it_is_chosen_by(self, provider: ChatProvider) -> None:
        found = provider.get_provider_name()
        assert found == self.name, (
            f"expected get_provider_name() to return {self.name!r}, the name in the route; found {found!r}: logs and "
            "records would name a provider that nobody can choose; return the entry point's name"
        )

    def test_it_was_written_for_this_contract(self, provider: ChatProvider) -> None:
        newest, found = ChatProvider.spec_version, provider.spec_version
        assert type(found) is int, f"expected spec_version as an int, found {found!r}; leave it as ChatProvider has it"
        assert 1 <= found <= newest, (
            f"expected spec_version 1 to {newest}, found {found}; leave it as ChatProvider has it, or upgrade "
            "understudy"
        )

    def test_its_capabilities_are_declared(self, provider: ChatProvider) -> None:
        found = provider.capabilities
        assert isinstance(found, Capabilities), (
            f"expected capabilities as Capabilities(...), found {found!r}; "
            "write `capabilities = Capabilities(tools=True, ...)` in the class"
        )
        wrong = {name: value for name in Capabilities.__slots__ if type(value := getattr(found, name)) is not bool}
        assert not wrong, f"expected every capability as True or False, found {wrong}"

    def test_it_says_that_it_is_available(self, provider: ChatProvider) -> None:
        reason, available = provider.unavailable_reason(), provider.is_available()
        assert available is True, (
            f"expected is_available() to return True with the settings of this test, found {available!r} while "
            f"unavailable_reason() says {reason!r}; let both say the same"
        )

    def test_making_it_sends_nothing(self, provider: ChatProvider) -> None:
        count = self.request_count()
        if count is None:
            pytest.skip("request_count() returns None: requests cannot be counted")
        assert count == 0, (
            f"expected no request before the first question, found {count}; a provider that is not asked must neither "
            "cost nor fail: connect in generate(), not in the constructor, and not in unavailable_reason()"
        )

    def test_without_its_key_it_says_which_variable_is_missing(self, provider: ChatProvider) -> None:
        self.secret()
        assert self.key is not None
        for value in (None, "  "):
            bare = self.make(**{self.key: value})
            self._is_unavailable(bare)
        if isinstance(provider, PlainProvider):
            return
        before = self.request_count()
        for way in WAYS:
            failure = way.fails(bare, REQUEST, "there is no key")
            named = isinstance(failure, ProviderUnavailable) and self.key in str(failure)
            assert named, (
                f"expected ProviderUnavailable that names {self.key} from {way.name}() without a key, found {failure!r}"
            )
        assert self.request_count() == before, "expected nothing to be sent without a key, found a request"

    def _is_unavailable(self, bare: ChatProvider) -> None:
        reason = bare.unavailable_reason()
        assert reason is not None, (
            f"expected unavailable_reason() to say that {self.key} is missing, found None: the provider would be asked "
            f"and fail; return settings.missing({self.key!r}) where settings.secret({self.key!r}) is None"
        )
        assert str(self.key) in reason, (
            f"expected unavailable_reason() to name {self.key}, found {reason!r}; return settings.missing({self.key!r})"
        )
        assert bare.is_available() is False, "expected is_available() to return False without a key, found True"

    def test_a_malformed_key_is_refused_and_not_shown(
        self, provider: ChatProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.secret()
        assert self.key is not None
        caplog.set_level(logging.DEBUG)
        reason = self.make(**{self.key: BAD_KEY}).unavailable_reason()
        assert reason is not None, (
            f"expected a key with white space in it to be refused when the provider is made, found it taken: the SDK "
            f"would fail as if there were no connection; read it with settings.secret({self.key!r})"
        )
        assert self.key in reason, f"expected the complaint to name {self.key}, found {reason!r}"
        shown = BAD_KEY in reason or BAD_KEY.split()[0] + " " in reason or "with-blanks" in reason + caplog.text
        assert not shown, "expected a complaint that does not show the key, found the key in it"

    def test_another_key_is_another_account(self, provider: ChatProvider) -> None:
        self.not_for_three_methods(provider, "they have no place for it")
        secret, key = self.secret(), str(self.key)
        found, same, other = provider.credential, self.make().credential, self.make(**{key: ANOTHER_KEY}).credential
        cure = f"set `self.credential = settings.credential(key)`, where key is what settings.api_key({key!r}) returns"
        assert found == same, (
            f"expected one `credential` for one key, found {found!r} and {same!r}; what is learnt of the vendor would "
            f"be lost: {cure}"
        )
        assert found != other, (
            f"expected another `credential` with another key, found {found!r} with both; a quota that is used up with "
            f"one key would hold back the other: {cure}"
        )
        assert secret not in found, f"expected a `credential` that does not hold the key, found the key in it; {cure}"

    def test_its_key_is_in_no_log_and_no_representation(
        self, ask: Way, provider: ChatProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = self.secret()
        caplog.set_level(logging.DEBUG)
        self.arrange("text")
        response = ask(provider, REQUEST)
        places = {
            "repr(provider)": repr(provider),
            "vars(provider)": repr(vars(provider)),
            "the response": repr(response),
            "the log": caplog.text,
        }
        found = [place for place, text in places.items() if secret in text]
        assert not found, (
            f"expected the key nowhere, found it in {' and '.join(found)}; keep the Secret that settings.secret() "
            "returns, and call reveal() only where the SDK takes the key"
        )

    def test_its_three_methods_are_there(self, provider: ChatProvider) -> None:
        owner = provider.provider if isinstance(provider, PlainProvider) else provider
        self.arrange("text")
        response = owner.generate_content("Hello", 0.0, 64)
        assert type(response).__name__ == "LLMResponse", (
            f"expected generate_content() to return an LLMResponse, found {type(response).__name__}"
        )
        assert response.success, f"expected generate_content() to succeed on a healthy vendor, found {response.error}"
        assert response.content.strip(), "expected generate_content() to return some text, found none"
