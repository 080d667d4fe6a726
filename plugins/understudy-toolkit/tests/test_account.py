"""What the settings say about an account."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ConfigurationError
from understudy.settings import Settings
from understudy_toolkit import account as account_module
from understudy_toolkit.account import DEFAULT_TRANSPORT, Account, read_account, read_transport, without_login

KEY = "not-a-real-key-1234"


def account(directory: Path | None = None, name: str = "parrot", **environment: str) -> Account:
    settings = Settings(environment=environment, directory=directory).for_provider(name)
    return read_account(
        settings,
        key=("PARROT_API_KEY", "BIRD_API_KEY"),
        url="PARROT_BASE_URL",
        default_url="https://api.parrot.example",
        model="PARROT_MODEL",
        default_model="parrot-1",
        transport="PARROT_TRANSPORT",
        headers="PARROT_CUSTOM_HEADERS",
        credentials=("Authorization", "X-Parrot"),
    )


def test_a_key_is_all_that_is_needed() -> None:
    read = account(BIRD_API_KEY=KEY)
    assert (read.base_url, read.model, read.transport) == ("https://api.parrot.example", "parrot-1", DEFAULT_TRANSPORT)
    assert (read.key is not None and read.key.reveal(), read.unavailable_reason, read.is_vendor) == (KEY, None, True)


def test_what_is_missing_is_named() -> None:
    assert (account().unavailable_reason or "").startswith("PARROT_API_KEY is not set")


def test_an_account_elsewhere_is_another_and_its_password_is_shown_nowhere() -> None:
    read = account(PARROT_API_KEY=KEY, PARROT_BASE_URL="https://me:p%40ss-word@gateway.example/v1/", PARROT_MODEL="x")
    assert (read.base_url, read.shown_url) == (
        "https://me:p%40ss-word@gateway.example/v1",
        "https://gateway.example/v1",
    )
    assert (read.login, read.is_vendor, read.model) == ({"Authorization": "Basic bWU6cEBzcy13b3Jk"}, False, "x")
    assert read.credential != account(PARROT_API_KEY=KEY).credential
    for secret in (KEY, "p@ss-word", "p%40ss-word"):
        assert secret not in repr(read) + read.credential


@pytest.mark.parametrize("value", ["http", "HTTP", " sdk "])
def test_a_lane_is_chosen_by_its_variable(value: str) -> None:
    assert account(PARROT_API_KEY=KEY, PARROT_TRANSPORT=value).transport == value.strip().lower()


def test_a_lane_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match='PARROT_TRANSPORT in the environment: expected "sdk" or "http"'):
        account(PARROT_TRANSPORT="pigeon")


def table(folder: Path, *lines: str) -> Path:
    (folder / "understudy.toml").write_text("\n".join(["[providers.near]", 'uses = "parrot"', *lines]), "utf-8")
    return folder


@pytest.mark.parametrize("lane", ["sdk", "http"])
def test_a_table_chooses_the_lane_over_the_variable(lane: str, tmp_path: Path) -> None:
    other = {"sdk": "http", "http": "sdk"}[lane]
    near = table(tmp_path, f'transport = "{lane}"')
    assert account(near, "near", PARROT_TRANSPORT=other).transport == lane
    assert account(near, PARROT_TRANSPORT=other).transport == other  # another provider's table says nothing of it
    with pytest.raises(ConfigurationError, match=r'transport in \[providers.near\] .*: expected "sdk" or "http"'):
        account(table(tmp_path, 'transport = "pigeon"'), "near")


def test_what_the_sdk_alone_can_ask_is_asked_through_it(tmp_path: Path) -> None:
    def chosen(*lines: str) -> str:
        settings = Settings(environment={}, directory=table(tmp_path, *lines)).for_provider("near")
        return read_transport(settings, None, "", lanes=("sdk",))

    assert chosen() == chosen('transport = "sdk"') == "sdk"
    with pytest.raises(ConfigurationError, match=r'transport in .*: expected "sdk", found .http.'):
        chosen('transport = "http"')


@pytest.mark.parametrize(
    ("proxy", "lane"),
    [
        ("http://proxy.example:3128", "http"),
        ("https://proxy.example:3128", "sdk"),  # httpx speaks to it, and we do not
        ("gopher://proxy.example", "http"),  # nobody does: the fault is told
    ],
)
def test_where_no_lane_is_chosen_the_one_is_taken_that_can_use_the_proxy(
    proxy: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_module, "DEFAULT_TRANSPORT", "http")
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    read = account(PARROT_API_KEY=KEY)
    assert read.transport == lane
    assert (read.unavailable_reason is None) == (not proxy.startswith("gopher"))
    assert account(PARROT_API_KEY=KEY, PARROT_TRANSPORT="http").transport == "http"


def test_the_users_own_headers_are_read_without_credentials() -> None:
    own = "X-Team: blue:green\nauthorization: Bearer stolen\nX-PARROT: stolen\nno header\n : none\nContent-Length: 5"
    with pytest.raises(ConfigurationError, match="PARROT_CUSTOM_HEADERS in the environment: expected lines such as"):
        account(PARROT_API_KEY=KEY, PARROT_CUSTOM_HEADERS=own)
    read = account(PARROT_API_KEY=KEY, PARROT_CUSTOM_HEADERS=own.replace(" : none\n", ""))
    assert read.headers == {"X-Team": "blue:green"}
    assert "blue" not in repr(read)
    with pytest.raises(ConfigurationError, match="expected lines such as"):
        account(PARROT_API_KEY=KEY, PARROT_CUSTOM_HEADERS="X-Team: bläu")


def test_a_server_with_a_table_of_its_own_gets_none_of_the_users_headers(tmp_path: Path) -> None:
    assert account(table(tmp_path), "near", PARROT_CUSTOM_HEADERS="X-Team: blue").headers == {}


def test_a_login_is_taken_out_of_an_address() -> None:
    assert without_login("http://me:secret@[::1]:8080/v1") == "http://[::1]:8080/v1"
    assert without_login("https://host.example") == "https://host.example"
