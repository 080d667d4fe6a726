"""Providers under names of their own, from understudy.toml."""

import pytest

from understudy import ConfigurationError, LLMFactory, Settings
from understudy.errors import AmbiguousProvider, RateLimited, UnknownProvider
from understudy.testing import ScriptedProvider

GROQ = '[providers.groq]\nuses = "openai"\nbase_url = "https://api.groq.com/v1/"\napi_key_env = "GROQ_API_KEY"\n'


@pytest.fixture
def settings(tmp_path):
    def read(text, **environment):
        (tmp_path / "understudy.toml").write_text(text)
        return Settings(environment=environment, directory=tmp_path)

    return read


def test_a_table_says_where_and_with_which_key(settings):
    found = settings(GROQ + 'model = "fast"\n', GROQ_API_KEY="gsk-123456", OPENAI_API_KEY="sk-abcdef").for_provider(
        "groq"
    )
    assert found.provider_name == "groq"
    assert found.needs_key
    assert found.api_key("OPENAI_API_KEY").reveal() == "gsk-123456"
    assert found.base_url("OPENAI_BASE_URL", default="https://api.openai.test") == "https://api.groq.com/v1"
    assert found.model("OPENAI_MODEL", default="default") == "fast"


def test_without_a_table_the_providers_own_variables_count(settings):
    whole = settings(GROQ, OPENAI_API_KEY="sk-abcdef", OPENAI_MODEL="mine")
    found = whole.for_provider("openai")
    assert found.provider_name is None
    assert found.api_key("OPENAI_API_KEY").reveal() == "sk-abcdef"
    assert found.base_url("OPENAI_BASE_URL", default="https://api.openai.test") == "https://api.openai.test"
    assert found.model("OPENAI_MODEL", default="default") == "mine"
    assert whole.provider_name is None


def test_the_vendors_key_never_goes_to_another_host(settings):
    text = '[providers.near]\nuses = "openai"\nbase_url = "http://127.0.0.1:8000"\n'
    found = settings(text, OPENAI_API_KEY="sk-abcdef").for_provider("near")
    assert found.api_key("OPENAI_API_KEY") is None
    assert "api_key_env" in found.missing("OPENAI_API_KEY")
    assert "understudy.toml" in found.missing("OPENAI_API_KEY")


def test_a_server_without_keys(settings):
    text = '[providers.near]\nuses = "openai"\nbase_url = "http://127.0.0.1:8000"\napi_key_env = ""\n'
    found = settings(text, OPENAI_API_KEY="sk-abcdef").for_provider("near")
    assert not found.needs_key
    assert found.api_key("OPENAI_API_KEY") is None


def test_another_model_of_the_same_vendor_keeps_its_key(settings):
    found = settings('[providers.small]\nuses = "openai"\nmodel = "tiny"\n', OPENAI_API_KEY="sk-abcdef").for_provider(
        "small"
    )
    assert found.api_key("OPENAI_API_KEY").reveal() == "sk-abcdef"
    assert found.model("OPENAI_MODEL", default="default") == "tiny"


def test_missing_names_the_tables_variable(settings):
    assert settings(GROQ).for_provider("groq").missing("OPENAI_API_KEY").startswith("GROQ_API_KEY is not set")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[providers.groq]\n", "uses"),
        ('[providers.groq]\nuses = ""\n', "uses"),
        ('[providers.groq]\nuses = "openai"\nbaseurl = "x"\n', "did you mean 'base_url'"),
        ('[providers.groq]\nuses = "openai"\napi_key = "sk-secret-secret"\n', "did you mean 'api_key_env'"),
        ("[providers.groq]\nuses = 5\n", "string"),
        ('[providers."a b"]\nuses = "openai"\n', "without spaces"),
        ("[provider.groq]\n", "'provider'"),
        ("providers = 5\n", "providers"),
        ("[providers]\ngroq = 5\n", "table"),
        ("not toml", "TOML"),
    ],
)
def test_what_is_not_understood_is_refused(settings, text, complaint):
    with pytest.raises(ConfigurationError, match="expected") as caught:
        settings(text)
    assert complaint in str(caught.value)
    assert "understudy.toml" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_a_malformed_address_names_the_table(settings):
    found = settings('[providers.x]\nuses = "openai"\nbase_url = "nowhere"\napi_key_env = ""\n').for_provider("x")
    with pytest.raises(ConfigurationError, match=r"base_url in \[providers.x\] in .*understudy.toml"):
        found.base_url("OPENAI_BASE_URL", default="https://api.openai.test")


class Parrot(ScriptedProvider):
    def __init__(self):
        super().__init__("parrot", [RateLimited("full"), "hello"])


@pytest.fixture
def parrot():
    LLMFactory.register_provider("parrot", Parrot)
    yield
    del LLMFactory.PROVIDER_REGISTRY["parrot"]


def test_a_name_of_its_own_stands_in_routes_records_and_options(settings, parrot):
    found = settings('[providers.polly]\nuses = "parrot"\n')
    factory = LLMFactory("polly", ["parrot"], settings=found)
    response = factory.generate_content("hi", options={"polly": {"volume": 3}})
    assert response.attempts[0].failure.provider == "polly"
    assert [a.target for a in response.attempts] == ["polly", "parrot"]
    assert factory.route[0][1].requests[0].options["parrot"] == {"volume": 3}
    assert factory.generate_content("hi").provider_name == "polly"


def test_a_name_that_uses_nobody_is_told_at_once(settings):
    with pytest.raises(UnknownProvider, match="no-such"):
        LLMFactory("polly", settings=settings('[providers.polly]\nuses = "no-such"\n'))


def test_a_table_may_not_take_anothers_name(settings, parrot):
    with pytest.raises(AmbiguousProvider, match=r"providers.parrot"):
        LLMFactory("parrot", settings=settings('[providers.parrot]\nuses = "other"\n'))
