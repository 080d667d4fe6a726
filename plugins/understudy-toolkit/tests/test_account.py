"""What the settings say about an account."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ConfigurationError
from understudy.settings import Settings
from understudy_toolkit.account import Account, read_account, read_transport, without_login

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
    )


def test_a_key_is_all_that_is_needed() -> None:
    read = account(BIRD_API_KEY=KEY)
    assert (read.base_url, read.model, read.transport) == ("https://api.parrot.example", "parrot-1", "sdk")
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


@pytest.mark.parametrize(("written", "lane"), [("sdk", "sdk"), ("http", "http"), ("HTTP", "http")])
def test_a_table_of_the_file_chooses_the_lane_above_the_variable(tmp_path: Path, written: str, lane: str) -> None:
    (tmp_path / "understudy.toml").write_text(
        f'[providers.mine]\nuses = "parrot"\ntransport = "{written}"\n[providers.other]\nuses = "parrot"\n'
    )
    other = "http" if lane == "sdk" else "sdk"
    assert account(tmp_path, "mine", PARROT_TRANSPORT=other).transport == lane
    assert account(tmp_path, "other", PARROT_TRANSPORT=other).transport == other  # which says nothing of it


def test_a_lane_that_does_not_exist_is_a_mistake_in_the_table_too(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[providers.mine]\nuses = "parrot"\ntransport = "pigeon"\n')
    with pytest.raises(ConfigurationError, match=r"transport in \[providers.mine\] in .*, found 'pigeon'"):
        account(tmp_path, "mine", PARROT_TRANSPORT="sdk")


def test_where_there_is_only_the_lane_of_the_sdk_no_table_chooses_another(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[providers.mine]\nuses = "parrot"\ntransport = "http"\n')
    settings = Settings(environment={}, directory=tmp_path).for_provider("mine")
    with pytest.raises(ConfigurationError, match="expected \"sdk\", found 'http'"):
        read_transport(settings, None)


def test_a_login_is_taken_out_of_an_address() -> None:
    assert without_login("http://me:secret@[::1]:8080/v1") == "http://[::1]:8080/v1"
    assert without_login("https://host.example") == "https://host.example"
