"""What a broken or hostile server can send is read within bounds, by every plugin on each lane that it has."""

import gzip

import pytest

from understudy import LLMFactory, StreamInterrupted
from understudy.errors import AllProvidersFailed, MalformedResponse
from understudy_toolkit.conformance import FaultServer, Reply

KEY = "not-a-real-key-0123456789abcdefghijkl"
SETTINGS = {
    "claude": {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": ""},
    "cohere": {"COHERE_API_KEY": KEY, "COHERE_BASE_URL": ""},
    "gemini": {"GOOGLE_API_KEY": KEY, "GEMINI_BASE_URL": ""},
    "gemini-legacy": {"GOOGLE_API_KEY": KEY, "GEMINI_BASE_URL": ""},
    "ollama": {"OLLAMA_BASE_URL": ""},
    "openai": {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "/v1"},
}
BOMB = Reply(
    gzip.compress(b'{"a": "' + bytes(100 * 2**20)),
    content_type="application/json",
    headers={"content-encoding": "gzip"},
)
LINE = Reply(pieces=tuple([b'data: {"a": "' + b"x" * 2**20] * 40), content_type="text/event-stream")


@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_inflates_or_goes_on_without_end_is_malformed(name: str, lane: str) -> None:
    if (name, lane) == ("gemini-legacy", "http"):
        pytest.skip("it has no other lane than its SDK")
    for reply in (BOMB, LINE):
        with FaultServer(lambda request, reply=reply: reply) as server:
            told = {variable: value or server.url for variable, value in SETTINGS[name].items()}
            told = {variable: server.url + value if value == "/v1" else value for variable, value in told.items()}
            told[f"{name.upper()}_TRANSPORT"] = lane
            with LLMFactory(name, [], settings=told, extensions=[]) as factory:
                if reply is BOMB:
                    failed = factory.generate_content("Hello", max_retries=0).failure
                else:
                    try:
                        *_, end = factory.stream_content("Hello", max_retries=0)
                        failed = end.response.failure
                    except StreamInterrupted as broken:
                        failed = broken
        assert isinstance(failed, AllProvidersFailed), (reply is BOMB, failed)
        assert isinstance(failed.failures[0], MalformedResponse), (reply is BOMB, failed)
        assert "at most" in failed.failures[0].message, (reply is BOMB, failed.failures[0].message)
