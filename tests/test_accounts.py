"""What a provider calls its account: another word for another key or address, and no way back to the key."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from understudy import Settings

KEYED = {
    "understudy_claude": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "understudy_cohere": ("COHERE_API_KEY", "COHERE_BASE_URL"),
    "understudy_gemini": ("GOOGLE_API_KEY", "GEMINI_BASE_URL"),
    "understudy_gemini_legacy": ("GOOGLE_API_KEY", "GEMINI_LEGACY_BASE_URL"),
    "understudy_ollama": ("OLLAMA_API_KEY", "OLLAMA_BASE_URL"),
    "understudy_openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
}


def account(module: str, **variables: str) -> str:
    made = import_module(module).understudy_provider(Settings(environment=variables))
    assert isinstance(made.credential, str)
    return made.credential


@pytest.mark.parametrize(("module", "key", "address"), [(name, *names) for name, names in KEYED.items()])
def test_a_key_and_an_address_tell_accounts_apart(module: str, key: str, address: str) -> None:
    one = account(module, **{key: "secret-key-one"})
    assert len(one) == 12
    assert "secret" not in one
    assert one == account(module, **{key: "secret-key-one"})
    assert account(module, **{key: "secret-key-two"}) not in (one, "")
    assert account(module) == ""
    elsewhere = account(module, **{key: "secret-key-one", address: "https://user:word@gateway.example/v1"})
    assert elsewhere == f"{one}@gateway.example/v1"
    without_key = account(module, **{address: "https://user:word@gateway.example/v1"})
    assert without_key.endswith("@gateway.example/v1")
    assert len(without_key) == len(elsewhere)
    assert "word" not in without_key
    assert account(module, **{address: "http://127.0.0.1:9"}) == "@127.0.0.1:9"


def test_vertex_is_told_by_project_place_and_who_signs_in(tmp_path: Path) -> None:
    def vertex(**variables: str) -> str:
        return account("understudy_gemini.vertex", **variables)

    asked = [
        vertex(GOOGLE_CLOUD_PROJECT="p1"),
        vertex(GOOGLE_CLOUD_PROJECT="p2"),
        vertex(GOOGLE_CLOUD_PROJECT="p1", GOOGLE_CLOUD_LOCATION="europe-west1"),
        vertex(GOOGLE_CLOUD_PROJECT="p1", GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "nobody.json")),
        vertex(GOOGLE_CLOUD_PROJECT="p1", VERTEX_BASE_URL="http://127.0.0.1:9"),
    ]
    assert len(set(asked)) == len(asked)
    assert asked[0] == "p1/global/"
    assert asked[4] == "p1/global/@127.0.0.1:9"
    assert "nobody" not in asked[3]


def test_a_table_of_understudy_toml_is_an_account_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text(
        '[providers.groq]\nuses = "openai"\nbase_url = "https://api.groq.example/v1"\napi_key_env = "GROQ_API_KEY"\n'
    )
    keys = {"OPENAI_API_KEY": "secret-key-one", "GROQ_API_KEY": "secret-key-one", "LLM_TRUSTED_FOLDERS": str(tmp_path)}
    settings = Settings(environment=keys, directory=tmp_path)
    make = import_module("understudy_openai").understudy_provider
    own, groq = make(settings).credential, make(settings.for_provider("groq")).credential
    assert groq == f"{own}@api.groq.example/v1"
