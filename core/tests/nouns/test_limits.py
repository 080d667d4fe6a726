"""What a caller allows a target, in code and in understudy.toml."""

import dataclasses
import sys

import pytest

from understudy import ConfigurationError, File, Image, Message, Request, Settings, Text, Tool, ToolCall, ToolResult
from understudy.extras import pricing
from understudy.extras.pricing import FILE_TOKENS, IMAGE_TOKENS, MAX_TOKENS, estimate_tokens
from understudy.limits import KEYS, Limits, find_limits


@pytest.fixture
def without_prices(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    pricing.is_installed.cache_clear()
    yield
    pricing.is_installed.cache_clear()


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "understudy.toml").write_text(text)
        return Settings(environment={}, directory=tmp_path).limits

    return read


# ---- in code ----


def test_nothing_is_limited_by_default():
    assert set(dataclasses.asdict(Limits()).values()) == {None}


def test_limits_are_frozen_and_can_be_compared():
    limits = Limits(requests_per_minute=10, tokens_per_minute=20_000, spend_per_day=1.5, concurrent=4)
    assert limits == Limits(requests_per_minute=10, tokens_per_minute=20_000, spend_per_day=1.5, concurrent=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.concurrent = 5


@pytest.mark.parametrize("name", [name for name in KEYS if name != "spend_per_day"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
def test_a_number_of_things_is_a_whole_number(name, value):
    with pytest.raises(ValueError, match=f"expected {name} as a whole number of 1 or more, found {value!r}"):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [0, -0.5, float("inf"), float("nan"), "2", True])
def test_dollars_are_a_number_above_zero(value):
    with pytest.raises(ValueError, match=f"expected spend_per_day in US dollars, more than 0, found {value!r}"):
        Limits(spend_per_day=value)


def test_dollars_need_prices(without_prices):
    with pytest.raises(
        ValueError, match=r"genai-prices for spend_per_day, found none: pip install 'understudy\[prices"
    ):
        Limits(spend_per_day=5)
    assert Limits(concurrent=5).concurrent == 5


def test_a_labels_limits_stand_above_its_providers():
    small, all_ = Limits(concurrent=1), Limits(concurrent=9)
    limits = {"claude:small": small, "claude": all_}
    assert find_limits(limits, "claude:small", "claude") is small
    assert find_limits(limits, "claude:large", "claude") is all_
    assert find_limits(limits, "gemini", "gemini") is None


# ---- tokens before the call ----


def asking(*parts, **more):
    return Request(messages=(Message.user(*parts),), **more)


def test_a_token_is_four_characters_and_the_answer_as_long_as_it_may_be():
    assert estimate_tokens(asking("x" * 400, max_tokens=50)) == 150
    assert estimate_tokens(asking("x" * 400)) == 100 + MAX_TOKENS
    assert estimate_tokens(asking("x", max_tokens=1)) == 2


def test_other_scripts_take_more_tokens_for_a_character():
    assert estimate_tokens(asking("語" * 400, max_tokens=50)) == 350


def test_everything_textual_counts():
    long = "x" * 400
    call = ToolCall(id="1", name="look", arguments={"at": long})
    for more in (
        {"system": long},
        {"tools": (Tool(name="look", description=long),)},
        {"output_schema": {"description": long}},
        {"messages": (Message.user("Hi"), Message("assistant", (call,)))},
        {"messages": (Message.user("Hi"), Message.tool(ToolResult(call_id="1", content=long)))},
        {"messages": (Message.user("Hi"), Message.tool(ToolResult(call_id="1", content=(Text(long),))))},
    ):
        assert 100 <= estimate_tokens(dataclasses.replace(asking("Hi", max_tokens=1), **more)) < 130


def test_attachments_count_by_their_kind():
    picture = Image(data=b"x" * 100_000, media_type="image/png")
    document = File(url="https://example.com/a.pdf", media_type="application/pdf")
    text = File(data=b"x" * 4000, media_type="text/plain")
    assert estimate_tokens(asking(picture, max_tokens=1)) == IMAGE_TOKENS + 1
    assert estimate_tokens(asking(document, picture, max_tokens=1)) == FILE_TOKENS + IMAGE_TOKENS + 1
    assert estimate_tokens(asking(text, max_tokens=1)) == 1001


# ---- in understudy.toml ----


def test_limits_are_read_beside_providers(read):
    limits = read(
        '[providers.quick]\nuses = "claude"\n'
        "[limits.quick]\nrequests_per_minute = 50\nconcurrent = 2\n"
        '[limits."claude:claude-opus-5-5"]\nspend_per_day = 5\ntokens_per_minute = 30_000\n'
    )
    assert limits == {
        "quick": Limits(requests_per_minute=50, concurrent=2),
        "claude:claude-opus-5-5": Limits(spend_per_day=5, tokens_per_minute=30_000),
    }


def test_without_a_file_and_without_tables_nothing_is_limited(read, tmp_path):
    assert Settings(environment={}, directory=tmp_path).limits == {}
    assert read("") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[limits.gemini]\nrequests_per_minut = 5\n", "did you mean 'requests_per_minute'"),
        ("[limits.gemini]\nspeed = 5\n", "expected requests_per_minute, tokens_per_minute, spend_per_day, concurrent"),
        ("[limits.gemini]\nconcurrent = 0\n", "expected concurrent as a whole number of 1 or more, found 0"),
        ("[limits.gemini]\nspend_per_day = inf\n", "expected spend_per_day in US dollars"),
        ("[limits.gemini]\n", "found none of them"),
        ("[limits.gemini-3.8-flash]\nconcurrent = 1\n", 'a name with dots must be in quotes: [limits."NAME"]'),
        ("[limits]\ngemini = 5\n", "expected a table, found int"),
        ("limits = 5\n", "[limits.NAME], found something else under 'limits'"),
        ("[limit.gemini]\nconcurrent = 1\n", "expected tables [providers.NAME] and [limits.NAME], found 'limit'"),
    ],
)
def test_what_is_not_understood_is_refused(read, text, complaint):
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert complaint in str(caught.value)
    assert "understudy.toml" in str(caught.value)


def test_dollars_without_prices_are_told_with_the_place(read, without_prices):
    with pytest.raises(ConfigurationError, match=r"\[limits.gemini\] in .*understudy.toml: .*pip install"):
        read("[limits.gemini]\nspend_per_day = 1\n")
