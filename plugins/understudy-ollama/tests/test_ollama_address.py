"""Where the server is looked for."""

from __future__ import annotations

import pytest

from understudy import ConfigurationError, Settings
from understudy_ollama import understudy_provider
from understudy_ollama.address import read_address


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("192.168.1.5", "http://192.168.1.5:11434"),
        ("gpu.example:8000", "http://gpu.example:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("gpu.example/ollama/", "http://gpu.example:11434/ollama"),
        ("ollama.com", "https://ollama.com"),
        ("http://0.0.0.0:8000/", "http://127.0.0.1:8000"),
        ("https://gpu.example", "https://gpu.example"),
    ],
)
def test_a_host_has_the_forms_that_ollama_itself_reads(value: str, url: str) -> None:
    assert read_address(Settings(environment={"OLLAMA_HOST": value})) == url


def test_a_base_url_stands_above_a_host_and_may_not_be_a_bare_one() -> None:
    both = {"OLLAMA_HOST": "gpu.example", "OLLAMA_BASE_URL": "http://0.0.0.0:1/x/"}
    assert read_address(Settings(environment=both)) == "http://127.0.0.1:1/x"
    with pytest.raises(ConfigurationError, match="OLLAMA_BASE_URL"):
        read_address(Settings(environment={"OLLAMA_BASE_URL": "gpu.example:11434"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_API_KEY", "not a key"),
        ("OLLAMA_BASE_URL", ""),
        ("OLLAMA_BASE_URL", "ftp://x"),
        ("OLLAMA_HOST", "ftp://x"),
        ("OLLAMA_HOST", "gpu.example:port"),
        ("OLLAMA_HOST", "gpu.example:0"),
        ("OLLAMA_HOST", "gpu.example:99999"),
        ("OLLAMA_HOST", "two words"),
        ("OLLAMA_HOST", "name:secret@gpu.example"),
        ("OLLAMA_HOST", "gpu.example?x=1"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} in the environment") as caught:
        understudy_provider(Settings(environment={name: value}))
    assert "secret" not in str(caught.value)
