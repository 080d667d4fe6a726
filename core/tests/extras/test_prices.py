"""What requests cost, by genai-prices' list."""

import subprocess
import sys
from pathlib import Path

import genai_prices
import pytest
from genai_prices.data import providers as PRICE_LIST
from hypothesis import given, settings
from hypothesis import strategies as some

from understudy import Message, Request, Usage
from understudy.extras import pricing
from understudy.extras.pricing import estimate, estimate_usage, is_installed, prepare, price_of
from understudy.files.config_file import ProviderTable
from understudy.routing.route import price_list_of

SOURCE = Path(pricing.__file__).parents[1]
OURS = {"anthropic": "claude", "google": "gemini", "openai": "openai", "cohere": "cohere"}
# With tiers, with prices by the request, by the hour of the day, for thinking; and those of our own plugins.
LISTED = [
    (vendor.id, model.id)
    for vendor in PRICE_LIST
    if vendor.id in {*OURS, "deepseek", "perplexity", "x-ai", "groq"}
    for model in vendor.models
    if model.is_match(model.id)  # some are known by longer names alone
]
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture
def forgetful():
    yield
    for one in (pricing.is_installed, pricing._library, pricing._rates):
        one.cache_clear()


@pytest.fixture
def without_the_extra(monkeypatch, forgetful):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    for one in (pricing.is_installed, pricing._library, pricing._rates):
        one.cache_clear()


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- after the call ----


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("claude", "claude-haiku-4-5"),
        ("claude", "claude-haiku-4-5-20251001"),
        ("gemini", "gemini-2.5-flash-lite"),
        ("gemini-legacy", "gemini-2.5-flash-lite"),
        ("vertex", "gemini-2.5-flash-lite"),
        ("openai", "gpt-4o-mini"),
        ("cohere", "command-a-03-2025"),
        ("groq", "llama-3.3-70b-versatile"),
        ("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile"),
    ],
)
def test_a_known_model_has_a_price(provider, model):
    assert 0 < price_of(provider, model, Usage(input_tokens=1000, output_tokens=10)) < 0.01
    assert price_of(provider, model, Usage()) == 0.0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("claude", "no-such-model"),
        ("claude", "gpt-4o-mini"),
        ("claude", None),
        ("no-such-provider", "gpt-4o-mini"),
        ("my-openai-proxy", "gpt-4o-mini"),  # only like a name of the list
        ("OpenAI", "gpt-4o-mini"),
        ("http://127.0.0.1:8000/v1", "gpt-4o-mini"),
        ("openai", "tts-1"),  # by the letter, which no usage tells
    ],
)
def test_what_is_not_known_has_no_price(provider, model):
    assert price_of(provider, model, MILLION) is None


def test_without_usage_there_is_no_price():
    assert price_of("claude", "claude-haiku-4-5", None) is None
    assert price_of("ollama", "gemma4", None) is None


def test_nobody_sends_a_bill_for_ones_own_machine_and_for_echo():
    assert price_of("ollama", "gemma4", MILLION) == 0.0
    assert price_of("echo", "echo", MILLION) == 0.0
    assert price_of("ollama", "gpt-oss:120b-cloud", MILLION) is None


def test_what_a_cache_holds_is_cheaper_than_what_it_does_not():
    whole = price_of("claude", "claude-haiku-4-5", Usage(input_tokens=10_000))
    read = price_of("claude", "claude-haiku-4-5", Usage(input_tokens=10_000, cache_read_tokens=9_000))
    written = price_of("claude", "claude-haiku-4-5", Usage(input_tokens=10_000, cache_write_tokens=9_000))
    assert read < whole < written


def test_thinking_is_part_of_the_output():
    some_of_it = Usage(output_tokens=1000, thinking_tokens=900)
    assert price_of("gemini", "gemini-2.5-flash", some_of_it) == price_of(
        "gemini", "gemini-2.5-flash", Usage(output_tokens=1000)
    )


def test_a_vendor_that_counts_more_in_the_cache_than_in_all_is_no_error():
    assert price_of("openai", "gpt-4o-mini", Usage(input_tokens=10, cache_read_tokens=20)) > 0


@settings(deadline=None, max_examples=200)
@given(
    listed=some.sampled_from(LISTED),
    read=some.integers(0, 300_000),
    written=some.integers(0, 300_000),
    plain=some.integers(0, 300_000),
    thought=some.integers(0, 10_000),
    said=some.integers(0, 10_000),
)
def test_a_price_is_what_genai_prices_says(listed, read, written, plain, thought, said):
    vendor, model = listed
    usage = Usage(
        input_tokens=read + written + plain,
        output_tokens=thought + said,
        thinking_tokens=thought,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
    given = {"input_tokens": read + written + plain, "output_tokens": thought + said}
    found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model, provider_id=vendor)
    if getattr(found.model_price, "output_reasoning_mtok", None) is not None:
        given["output_reasoning_tokens"] = thought
    told = genai_prices.Usage(**given, cache_read_tokens=read, cache_write_tokens=written)
    ours = price_of(OURS.get(vendor, vendor), model, usage)
    if ours is None:
        assert (found.model_price.input_mtok, found.model_price.output_mtok) == (None, None)
    else:
        theirs = genai_prices.calc_price(told, model, provider_id=vendor).total_price
        assert ours == pytest.approx(float(theirs), rel=1e-9, abs=1e-12)


def test_the_list_holds_models_of_every_kind_of_price():
    kinds = {
        (type(price).__name__, name)
        for vendor in PRICE_LIST
        for model in vendor.models
        if (vendor.id, model.id) in LISTED
        for one in ([each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices])
        for name, price in vars(one).items()
    }
    assert {("TieredPrices", "input_mtok"), ("Decimal", "requests_kcount"), ("Decimal", "cache_write_mtok")} <= kinds


def test_a_price_is_looked_up_once_a_minute(monkeypatch, forgetful):
    asked = []
    calc_price = genai_prices.calc_price

    def count(*arguments, **options):
        asked.append(arguments[1])
        return calc_price(*arguments, **options)

    monkeypatch.setattr(genai_prices, "calc_price", count)
    now = 1000.0
    monkeypatch.setattr(pricing.time, "monotonic", lambda: now)
    pricing._rates.cache_clear()
    for _ in range(5):
        price_of("openai", "gpt-4o-mini", MILLION)
        price_of("openai", "no-such-model", MILLION)
    assert sorted(asked) == ["gpt-4o-mini", "no-such-model"]
    now += 60
    price_of("openai", "gpt-4o-mini", MILLION)
    assert asked.count("gpt-4o-mini") == 2


# ---- before the call ----


def test_an_estimate_is_the_price_of_the_estimated_tokens():
    request = Request(messages=(Message.user("x" * 4000),), max_tokens=500)
    assert estimate_usage(request) == Usage(input_tokens=1000, output_tokens=500)
    known = price_of("openai", "gpt-4o-mini", Usage(input_tokens=1000, output_tokens=500))
    assert estimate("openai", "gpt-4o-mini", request) == known
    assert estimate("openai", "no-such-model", request) is None
    assert estimate("openai", None, request) is None
    assert estimate("ollama", "gemma4", request) == 0.0


# ---- who is paid ----


@pytest.mark.parametrize(
    ("uses", "base_url", "paid"),
    [
        ("claude", None, "claude"),
        ("openai", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        ("openai", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("ollama", "http://10.0.0.5:11434", "ollama"),
    ],
)
def test_the_one_who_is_paid_is_where_the_request_goes(uses, base_url, paid):
    assert price_list_of("mine", ProviderTable("mine", "here", uses, base_url)) == paid


def test_without_a_table_the_name_says_who_is_paid():
    assert price_list_of("gemini", None) == "gemini"


# ---- the package ----


def test_without_the_extra_nothing_has_a_price(without_the_extra):
    assert not is_installed()
    assert not prepare()
    assert price_of("claude", "claude-haiku-4-5", MILLION) is None
    assert price_of("ollama", "gemma4", MILLION) == 0.0


def test_the_list_is_imported_with_the_first_price_and_nothing_is_fetched():
    program = """
import threading
def watch(event, arguments):
    assert event not in ("socket.connect", "socket.getaddrinfo"), (event, arguments)
sys.addaudithook(watch)
from understudy import Usage
from understudy.extras.pricing import is_installed, prepare, price_of
assert is_installed() and "genai_prices" not in sys.modules
assert prepare() and "genai_prices.data" in sys.modules
print(price_of("openai", "gpt-4o-mini", Usage(input_tokens=1)), threading.active_count())
"""
    price, threads = run(program).split()
    assert float(price) > 0
    assert threads == "1"
