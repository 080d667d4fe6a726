"""What the user asked for, word for word: names, defaults, shapes, log lines and error texts."""

import inspect
import logging
from dataclasses import fields

import pytest

from understudy import (
    AllProvidersFailed,
    Capabilities,
    ConfigurationError,
    Image,
    LLMFactory,
    LLMProvider,
    LLMResponse,
    Message,
    Tool,
)
from understudy.errors import (
    AuthenticationFailed,
    EmptyResponse,
    InvalidRequest,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    Timeout,
    UnknownProvider,
)
from understudy.testing import ScriptedProvider, no_waiting


class SeedProvider(LLMProvider):
    """A provider of the plainest kind: three methods, its own exceptions caught."""

    name = "seed"
    script: list[object] = ["hello"]

    def __init__(self):
        self.prompts = []

    def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
        self.prompts.append((prompt, temperature, max_tokens))
        line = self.script[min(len(self.prompts), len(self.script)) - 1]
        if isinstance(line, str) and line.startswith("Error"):
            return LLMResponse(success=False, error=line)
        if isinstance(line, BaseException):
            raise line
        return LLMResponse(success=True, content=line, provider_name=self.name)

    def get_provider_name(self):
        return self.name

    def is_available(self):
        return True


def seed(name_, *script_, available=True):
    class Provider(SeedProvider):
        name = name_
        script = list(script_)

        def is_available(self):
            return available

    return Provider


@pytest.fixture
def register():
    names = []

    def register(**classes):
        for name, cls in classes.items():
            LLMFactory.register_provider(name, cls)
            names.append(name)

    yield register
    for name in names:
        del LLMFactory.PROVIDER_REGISTRY[name]


def factory_of(primary, *fallbacks, **options):
    return LLMFactory(primary, fallbacks, settings={}, extensions=[], **options)


def test_response_fields_come_in_the_users_order():
    names = [field.name for field in fields(LLMResponse)]
    assert names[:5] == ["success", "content", "provider_name", "error", "metadata"]
    assert LLMResponse(False, error="no").metadata == {}


def test_signatures_are_the_users():
    generate = inspect.signature(LLMFactory.generate_content).parameters
    assert list(generate)[:6] == ["self", "prompt", "temperature", "max_tokens", "max_retries", "retry_delay"]
    assert [generate[n].default for n in ("temperature", "max_tokens", "max_retries", "retry_delay")] == [
        0.0,
        1024,
        5,
        5,
    ]
    provider = inspect.signature(LLMProvider.generate_content).parameters
    assert {n: p.default for n, p in list(provider.items())[2:]} == {"temperature": 0.0, "max_tokens": 1024}
    init = inspect.signature(LLMFactory.__init__).parameters
    assert list(init)[1:3] == ["primary_provider", "fallback_providers"]
    assert init["primary_provider"].default is init["fallback_providers"].default is None
    assert LLMProvider.__abstractmethods__ == {"generate_content", "get_provider_name", "is_available"}


def test_quota_switches_at_once_and_the_next_request_starts_with_the_primary(register, caplog):
    caplog.set_level(logging.INFO, "understudy")
    register(gemini=seed("gemini", "Error 429: quota exceeded", "back again"), claude=seed("claude", "I take over"))
    factory = factory_of("gemini", "claude")
    with no_waiting() as waits:
        response = factory.generate_content("hello")
    assert (response.success, response.content, response.provider_name) == (True, "I take over", "claude")
    assert waits == []
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "understudy"]
    assert ("INFO", "LLMFactory initialized with primary provider: gemini") in lines
    assert ("INFO", "Using gemini for content generation") in lines
    assert ("WARNING", "gemini quota exceeded, switching to claude") in lines
    assert ("INFO", "Using claude for content generation") in lines
    assert factory.generate_content("hello").content == "back again"


@pytest.mark.parametrize(
    "words", ["Error 429: quota exceeded", "Error: Rate limit reached", "Error: RESOURCE_EXHAUSTED", "Error quota"]
)
def test_the_seeds_words_for_quota(register, words):
    register(gemini=seed("gemini", words), claude=seed("claude", "fine"))
    with no_waiting() as waits:
        assert factory_of("gemini", "claude").generate_content("hello").content == "fine"
    assert waits == []


@pytest.mark.parametrize("words", ["Error 4290 lines", "Error: misquotation", "Error: a strange day"])
def test_words_within_words_are_no_quota(register, words):
    register(gemini=seed("gemini", words, "second try"), claude=seed("claude", "fine"))
    with no_waiting() as waits:
        assert factory_of("gemini", "claude").generate_content("hello").content == "second try"
    assert waits == [5]


def test_transient_failures_are_retried_then_the_next_provider_answers(register):
    register(gemini=seed("gemini", TimeoutError("read timed out")), claude=seed("claude", "fine"))
    factory = factory_of("gemini", "claude")
    with no_waiting() as waits:
        response = factory.generate_content("hello")
    assert response.content == "fine"
    assert waits == [5, 10, 20, 40, 60]
    assert len(factory.route[0][1].provider.prompts) == 6


def test_all_failed_says_so_and_logs_it_once(register, caplog):
    register(gemini=seed("gemini", "Error 429: quota exceeded"), claude=seed("claude", TimeoutError()))
    with no_waiting():
        response = factory_of("gemini", "claude").generate_content("hello")
    assert not response.success
    assert response.error == "All LLM providers failed: [gemini: quota exceeded, claude: timeout]"
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == [response.error]
    assert isinstance(response.failure, AllProvidersFailed)
    assert [type(f) for f in response.failure.failures] == [RateLimited, Timeout]
    with pytest.raises(AllProvidersFailed, match="gemini: quota exceeded"):
        response.raise_for_failure()


def test_status_has_the_users_shape(register):
    register(gemini=seed("gemini", available=False), claude=seed("claude", "fine"))
    status = factory_of("gemini", "claude").get_provider_status()
    assert set(status) == {"primary", "fallbacks", "current"}
    assert status["current"] == "claude"
    seats = [status["primary"], *status["fallbacks"]]
    assert [(seat["name"], seat["available"]) for seat in seats] == [("gemini", False), ("claude", True)]
    for seat in seats:
        assert set(seat) == {"name", "available", "health"}
        assert seat["health"]["state"] == "closed"
        assert {"free_in", "until", "failures", "latency", "latency_p95", "left"} < set(seat["health"])


def test_registering_something_else_is_refused():
    for wrong in (object, "text", SeedProvider()):
        with pytest.raises(ValueError, match=r"^Must inherit from LLMProvider$"):
            LLMFactory.register_provider("wrong", wrong)
    assert "wrong" not in LLMFactory.PROVIDER_REGISTRY


def test_route_comes_from_the_settings(register):
    register(one=seed("one"), two=seed("two"), three=seed("three"))
    names = {"LLM_PRIMARY_PROVIDER": "two", "LLM_FALLBACK_PROVIDERS": "one, three:some-model ,,"}
    factory = LLMFactory(settings=names)
    assert [target.label for target, _ in factory.route] == ["two", "one", "three:some-model"]
    assert factory.route[2][0].model == "some-model"
    assert [t.label for t, _ in LLMFactory("one", "two,one", settings=names).route] == ["one", "two"]


def test_unknown_name_is_told_at_once():
    with pytest.raises(UnknownProvider, match="no-such-thing"):
        factory_of("no-such-thing")


def test_unavailable_provider_is_skipped_and_recorded(register, caplog):
    primary = ScriptedProvider("p", unavailable="P_API_KEY is not set")
    response = factory_of(primary, ScriptedProvider("q", ["fine"])).generate_content("hello")
    assert response.content == "fine"
    assert primary.requests == []
    assert [(a.target, a.outcome) for a in response.attempts] == [("p", "skipped"), ("q", "succeeded")]
    assert "P_API_KEY is not set" in response.attempts[0].reason
    assert "p not available: P_API_KEY is not set, switching to q" in caplog.text


def test_everybody_unavailable_names_every_cure():
    providers = [ScriptedProvider(n, unavailable=f"{n.upper()}_KEY is not set") for n in "ab"]
    response = factory_of(*providers).generate_content("hello")
    assert response.error == (
        "All LLM providers failed: [a: not available: A_KEY is not set, b: not available: B_KEY is not set]"
    )


def test_a_lack_is_a_skip_with_its_reason():
    tools = Capabilities(tools=True, images=True)
    factory = factory_of(ScriptedProvider("a"), ScriptedProvider("b", ["seen"], capabilities=tools))
    picture = Message.user("what is this?", Image(data=b"x", media_type="image/png"))
    response = factory.generate_content([picture])
    assert (response.content, response.attempts[0].reason) == (
        "seen",
        "skipped: unsupported request: does not take images",
    )
    assert factory.generate_content("add", tools=[Tool(name="add")]).attempts[0].outcome == "skipped"


def test_the_request_at_fault_ends_the_call():
    other = ScriptedProvider("b")
    response = factory_of(ScriptedProvider("a", [InvalidRequest("bad schema")]), other).generate_content("hello")
    assert not response.success
    assert response.error == "a: invalid request: bad schema"
    assert other.requests == []


def test_an_empty_answer_is_not_a_success(register):
    register(gemini=seed("gemini", ""), claude=seed("claude", "fine"))
    for primary in ("gemini", ScriptedProvider("s", [" \n"])):
        response = factory_of(primary, "claude").generate_content("hello")
        assert response.content == "fine"
        assert isinstance(response.attempts[0].failure, EmptyResponse)


def test_something_else_than_a_response_is_malformed(register):
    class Wrong(SeedProvider):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            return "just text"

    register(gemini=Wrong)
    response = factory_of("gemini").generate_content("hello")
    assert isinstance(response.failure.failures[0], MalformedResponse)
    assert "found str" in str(response.failure.failures[0])


def test_failures_somebody_must_act_on_are_logged_as_errors(caplog):
    factory_of(ScriptedProvider("a", [AuthenticationFailed("bad key")]), ScriptedProvider("b")).generate_content("hi")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        (
            "ERROR",
            "a authentication failed: it is skipped for 30 s, and longer each time, until its key, model or URL "
            "changes",
        ),
        ("ERROR", "a authentication failed, switching to b"),
    ]


def test_malformed_settings_of_one_provider_do_not_stop_the_others(register, caplog):
    class Broken(SeedProvider):
        def __init__(self):
            raise ConfigurationError("GEMINI_BASE_URL in /somewhere/.env: expected a URL, found nothing")

    register(gemini=Broken, claude=seed("claude", "fine"))
    factory = factory_of("gemini", "claude")
    response = factory.generate_content("hello")
    assert response.content == "fine"
    assert "GEMINI_BASE_URL in /somewhere/.env" in response.attempts[0].reason
    assert "GEMINI_BASE_URL" in caplog.text
    assert factory.get_provider_status()["primary"]["available"] is False


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"prompt": ""}, ValueError),
        ({"prompt": "  "}, ValueError),
        ({"prompt": 5}, TypeError),
        ({"prompt": []}, ValueError),
        ({"prompt": [{"role": "user"}]}, ValueError),
        ({"temperature": 3}, ValueError),
        ({"temperature": "hot"}, TypeError),
        ({"max_tokens": 0}, ValueError),
        ({"max_tokens": 1.5}, TypeError),
        ({"max_retries": -1}, ValueError),
        ({"retry_delay": -1}, ValueError),
        ({"retry_delay": float("nan")}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"deadline": -3}, ValueError),
        ({"tool_choice": "hammer"}, ValueError),
        ({"stop": [""]}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(arguments, error):
    provider = ScriptedProvider("a")
    with pytest.raises(error, match="expected"):
        factory_of(provider).generate_content(**({"prompt": "hello"} | arguments))
    assert provider.requests == []


def test_conversation_reaches_a_three_method_provider_as_text(register):
    register(gemini=seed("gemini", "fine"))
    factory = factory_of("gemini")
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    response = factory.generate_content([*turns, Message.assistant("Hello"), Message.user("Bye")], stop=["."])
    assert factory.route[0][1].provider.prompts[0][0] == "Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Bye"
    assert [w.setting for w in response.warnings] == ["stop"]


def test_model_of_the_call_goes_to_the_primary_only():
    primary, fallback = ScriptedProvider("a", [QuotaExhausted()]), ScriptedProvider("b")
    factory_of(primary, fallback).generate_content("hello", model="special")
    assert (primary.requests[0].model, fallback.requests[0].model) == ("special", None)


def test_repr_shows_the_route():
    assert repr(factory_of(ScriptedProvider("a"), ScriptedProvider("b"))) == "LLMFactory(a -> b)"


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (LLMResponse(True, None, "s"), EmptyResponse),
        (LLMResponse(True, 5, "s"), MalformedResponse),
        (None, MalformedResponse),
    ],
)
def test_what_a_provider_should_not_return_is_not_waited_for(register, reply, failure):
    class Seed(SeedProvider):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            return reply

    class Chat(ScriptedProvider):
        def generate(self, request):
            return reply

    register(seed=Seed)
    for primary in ("seed", Chat("chat")):
        with no_waiting() as waits:
            response = factory_of(primary, ScriptedProvider("b", ["fine"])).generate_content("hello")
        assert response.content == "fine"
        assert isinstance(response.attempts[0].failure, failure)
        assert waits == []


def test_a_plugin_that_fails_when_asked_whether_it_can_be_used_is_skipped():
    class Broken(ScriptedProvider):
        def unavailable_reason(self):
            raise KeyError("settings")

    response = factory_of(Broken("a"), ScriptedProvider("b", ["fine"])).generate_content("hello")
    assert response.content == "fine"
    assert response.attempts[0].outcome == "skipped"
    assert "KeyError('settings')" in response.attempts[0].reason
