"""A package that is another provider under a name of its own, and a table of `understudy.toml` above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy import Settings

ENVIRONMENT = {"PARROT_API_KEY": "parrot-key", "MINE_API_KEY": "office-key", "OPENAI_API_KEY": "openai-key"}


def of_package(settings: Settings) -> Settings:
    """What a package's hook makes of the settings that it is given."""
    return settings.under_name(
        "parrot",
        base_url=settings.base_url("PARROT_BASE_URL", default="https://parrot.example/v1"),
        api_key_env="PARROT_API_KEY",
        model=settings.model("PARROT_MODEL", default="ara-1"),
    )


def read(settings: Settings) -> tuple[str | None, str, str, str | None]:
    """What the provider that does the work reads: name, address, model and key."""
    key = settings.api_key("OPENAI_API_KEY")
    address = settings.base_url("OPENAI_BASE_URL", default="https://openai.example")
    model = settings.model("OPENAI_MODEL", default="gpt")
    return settings.provider_name, address, model, key and key.reveal()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("parrot", "https://parrot.example/v1", "ara-1", "parrot-key")),
        ({"OPENAI_BASE_URL": "https://x"}, ("parrot", "https://parrot.example/v1", "ara-1", "parrot-key")),
        ({"PARROT_BASE_URL": "http://localhost/v1"}, ("parrot", "http://localhost/v1", "ara-1", "parrot-key")),
        ({"PARROT_MODEL": "ara-2"}, ("parrot", "https://parrot.example/v1", "ara-2", "parrot-key")),
        ({"PARROT_API_KEY": ""}, ("parrot", "https://parrot.example/v1", "ara-1", None)),
    ],
)
def test_the_package_says_what_the_provider_reads(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    settings = of_package(Settings(environment=ENVIRONMENT | environment))
    assert read(settings) == expected
    if expected[-1] is None:
        assert settings.missing("OPENAI_API_KEY") == "PARROT_API_KEY is empty in the environment: expected a value"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('model = "ara-9"', ("mine", "https://parrot.example/v1", "ara-9", "parrot-key")),
        ('api_key_env = "MINE_API_KEY"', ("mine", "https://parrot.example/v1", "ara-1", "office-key")),
        ('base_url = "https://office.example"', ("mine", "https://office.example", "ara-1", None)),
        ('base_url = "https://o"\napi_key_env = "FILE_KEY"', ("mine", "https://o", "ara-1", "key-of-the-file")),
        ('base_url = "http://127.0.0.1:1"\napi_key_env = ""', ("mine", "http://127.0.0.1:1", "ara-1", None)),
    ],
)
def test_a_table_stands_above_the_package_and_a_key_never_follows_another_address(
    lines: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FILE_KEY=key-of-the-file\n")
    (tmp_path / "understudy.toml").write_text(f'[providers.mine]\nuses = "parrot"\n{lines}\n')
    settings = of_package(Settings(environment=ENVIRONMENT, directory=tmp_path).for_provider("mine"))
    assert read(settings) == expected
    assert settings.needs_key is ('api_key_env = ""' not in lines)
