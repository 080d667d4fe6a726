"""Files that a stranger owns, can write or has made: what is read of them, where keys go, and how to allow it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy import ConfigurationError, LLMFactory, Settings
from understudy.errors import UntrustedPlugin
from understudy.files.reading import MOST_BYTES, MOST_LEVELS, ForeignFile, find_file, read_file, read_toml

posix = pytest.mark.skipif(os.name != "posix", reason="files have no owner there that could be looked at")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser gives files away")
NOBODY = 65534
KEY = "users-key-0123456789"
URL = "https://stranger.example"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder two levels below another, where a program runs."""
    monkeypatch.setattr("understudy.files.env_file._told", {})
    folder = tmp_path / "user" / "project"
    folder.mkdir(parents=True)
    return folder


def give_away(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)


def let_all_write(file: Path) -> None:
    file.chmod(0o666)


def let_a_group_write(file: Path) -> None:
    file.chmod(0o664)
    os.chown(file, -1, NOBODY)


def link_for(file: Path) -> None:
    """Somebody's link to a file that is one's own, but was not meant."""
    other = file.with_name(f"other-{file.name}")
    file.rename(other)
    file.symlink_to(other)
    os.lchown(file, NOBODY, NOBODY)


WAYS = [
    pytest.param(give_away, "the user 65534 owns; chown ", marks=root),
    pytest.param(let_a_group_write, "the group 65534 can write; chmod g-w ", marks=root),
    pytest.param(link_for, "the user 65534 owns; chown ", marks=root),
    pytest.param(let_all_write, "everybody can write; chmod o-w ", marks=posix),
]


@pytest.mark.parametrize(("make_foreign", "why"), WAYS)
def test_what_others_own_or_can_write_is_passed_over_with_one_warning(
    make_foreign: Callable[[Path], None], why: str, project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env, tables = tmp_path / ".env", tmp_path / "understudy.toml"
    env.write_text(f"LLM_PRIMARY_PROVIDER=claude\nANTHROPIC_BASE_URL={URL}\n")
    tables.write_text(f'[providers.polly]\nuses = "openai"\nbase_url = "{URL}"\napi_key_env = "ANY_KEY"\n')
    for file in (env, tables):
        make_foreign(file)
    with caplog.at_level(logging.WARNING):
        found, again = (Settings(environment={"ANY_KEY": KEY}, directory=project) for _ in range(2))
    assert (found.env_file, found.config_file, found.get("ANTHROPIC_BASE_URL"), found.tables) == (None, None, None, {})
    assert [record.getMessage() for record in caplog.records] == list(found.passed_over) == list(again.passed_over)
    for file, said in zip((env, tables), found.passed_over, strict=True):
        assert said.startswith(f"{file} is not read: expected a file that you alone can write, found one that {why}")
        assert said.endswith(
            f"or, if you trust whoever writes there, set LLM_TRUSTED_FOLDERS={tmp_path} in the environment"
        )
    trusting = Settings(environment={"LLM_TRUSTED_FOLDERS": str(tmp_path)}, directory=project)
    assert (trusting.get("ANTHROPIC_BASE_URL"), list(trusting.tables), trusting.passed_over) == (URL, ["polly"], ())


@posix
def test_what_root_or_a_group_of_ones_own_can_write_is_read(tmp_path: Path) -> None:
    assert read_file(Path("/etc/passwd"))  # the system's, whoever runs this
    file = tmp_path / ".env"
    file.write_text("A=1")
    file.chmod(0o664)
    os.chown(file, -1, os.getgid())
    import grp
    import pwd

    alone = os.getgid() == 0 or grp.getgrgid(os.getgid()).gr_name == pwd.getpwuid(os.getuid()).pw_name
    if alone:
        assert read_file(file) == b"A=1"
    else:
        with pytest.raises(ForeignFile, match="the group"):
            read_file(file)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="a stranger's file is made, for the superuser")
def test_a_file_of_another_user_is_told_without_the_right_to_make_one() -> None:
    strangers = next(
        (file for file in Path("/proc/1").glob("cgroup") if file.stat().st_uid not in (0, os.geteuid())), None
    )
    if strangers is None:
        pytest.skip("no file here belongs to anybody but root and this user")
    with pytest.raises(ForeignFile):
        read_file(strangers)


@root
@pytest.mark.parametrize("folder", [".", "relative", "~nobody-of-that-name"])
def test_a_file_does_not_vouch_for_itself_and_a_folder_is_named_in_full(folder: str, project: Path) -> None:
    (project / ".env").write_text(f"LLM_TRUSTED_FOLDERS={project}\nANTHROPIC_BASE_URL={URL}\n")
    own = Settings(environment={}, directory=project)
    assert own.trusted_folders == frozenset()
    assert not own.trusts(project / ".env")
    with pytest.raises(
        ConfigurationError, match=r"^LLM_TRUSTED_FOLDERS in the environment: expected absolute paths of fol"
    ):
        Settings(environment={"LLM_TRUSTED_FOLDERS": folder}, directory=project)


def test_the_search_ends_at_the_repository_and_at_home_but_for_the_lock(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".env", "understudy.toml", "understudy.lock"):
        (tmp_path / name).touch()
    above = tmp_path / ".env"
    assert find_file(".env", project) == above
    monkeypatch.setenv("HOME", str(project.parent))
    monkeypatch.setenv("USERPROFILE", str(project.parent))
    assert find_file(".env", project) is None
    (project.parent / ".env").touch()
    assert find_file(".env", project) == project.parent / ".env"  # the home itself counts
    monkeypatch.undo()
    (project / ".git").write_text("gitdir: elsewhere\n")  # as in a worktree
    found = Settings(environment={}, directory=project)
    assert (found.env_file, found.config_file) == (None, None)
    assert found.lock_file == tmp_path / "understudy.lock"  # whoever put it there has restricted what is below


# ---- keys and addresses ----

PLACES = ("the arguments", "the environment", ".env")


def place(project: Path, **where: str) -> Settings:
    """Return settings with each variable in its place, as a provider sees them."""
    values = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": URL}
    layers = {origin: {name: values.get(name, "") for name, at in where.items() if at == origin} for origin in PLACES}
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in layers[".env"].items()))
    made = Settings(layers["the arguments"], environment=layers["the environment"], directory=project)
    return made.for_provider("claude")


def read(settings: Settings, key_first: bool = True) -> tuple[str, str]:
    """Read key and address as a plugin does, in either order."""

    def key() -> str:
        found = settings.api_key("ANTHROPIC_API_KEY")
        return found.reveal() if found else ""

    if key_first:
        return key(), settings.base_url("ANTHROPIC_BASE_URL", default="https://api.example")
    url = settings.base_url("ANTHROPIC_BASE_URL", default="https://api.example")
    return key(), url


@pytest.mark.parametrize("key_first", [True, False])
@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("address", PLACES)
def test_a_key_goes_to_no_address_from_a_place_that_is_trusted_less(
    key: str, address: str, key_first: bool, project: Path
) -> None:
    settings = place(project, ANTHROPIC_API_KEY=key, ANTHROPIC_BASE_URL=address)
    if PLACES.index(key) >= PLACES.index(address):
        assert read(settings, key_first) == (KEY, URL)
        return
    with pytest.raises(ConfigurationError) as caught:
        read(settings, key_first)
    ways = [f"that in {key} too"]
    if address == ".env":
        ways.append(f"LLM_TRUSTED_FOLDERS={project} if you trust whoever writes there")
    assert str(caught.value) == (
        f"ANTHROPIC_API_KEY of {key} does not go to ANTHROPIC_BASE_URL of {address}: set {', or '.join(ways)}; whoever "
        "can change the less trusted place would get it"
    )
    assert KEY not in str(caught.value)


def test_a_folder_is_trusted_as_much_as_the_place_that_names_it(project: Path) -> None:
    (project / ".env").write_text(f"ANTHROPIC_BASE_URL={URL}\n")
    folder = {"LLM_TRUSTED_FOLDERS": f"{project.parent}, {project}/"}
    key = {"ANTHROPIC_API_KEY": KEY}
    named = Settings(environment={**folder, **key}, directory=project).for_provider("claude")
    assert read(named) == (KEY, URL)
    too_low = Settings(key, environment=folder, directory=project).for_provider("claude")
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY of the arguments"):
        read(too_low)
    assert read(Settings({**folder, **key}, environment={}, directory=project).for_provider("claude")) == (KEY, URL)


def test_one_providers_key_is_not_held_against_anothers_address(project: Path) -> None:
    (project / ".env").write_text(f"ANTHROPIC_BASE_URL={URL}\nANTHROPIC_API_KEY={KEY}\n")
    settings = Settings(environment={"OPENAI_API_KEY": "other-key-012345"}, directory=project)
    assert settings.for_provider("openai").api_key("OPENAI_API_KEY") is not None
    assert read(settings.for_provider("claude")) == (KEY, URL)
    assert settings.secret("OPENAI_API_KEY") is not None  # whoever reads no account is not asked
    assert settings.url("ANTHROPIC_BASE_URL") == URL


def test_each_address_that_is_read_counts_and_each_key(project: Path) -> None:
    (project / ".env").write_text(
        f"ONE_URL=https://api.anthropic.com\nANTHROPIC_BASE_URL={URL}\nOWN_KEY=file-key-0123\n"
    )
    settings = Settings(environment={"ANTHROPIC_API_KEY": KEY}, directory=project).for_provider("claude")
    assert settings.url("ONE_URL") == "https://api.anthropic.com"
    assert settings.secret("OWN_KEY") is not None
    assert settings.secret("ANTHROPIC_API_KEY") is not None  # at home there
    with pytest.raises(
        ConfigurationError, match=r"ANTHROPIC_API_KEY of the environment does not go to ANTHROPIC_BASE_URL of .env"
    ):
        settings.url("ANTHROPIC_BASE_URL")


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://api.groq.com/openai/v1", True),
        ("https://api.groq.com:443/", True),
        ("http://api.groq.com/openai/v1", False),
        ("https://api.groq.com:8443/", False),
        ("https://api.groq.com.stranger.example/", False),
        ("https://api.groq.com@stranger.example/", False),
        ("https://stranger.example/api.groq.com", False),
    ],
)
@pytest.mark.parametrize("name", ["groq", "fast"])
def test_a_vendors_key_goes_to_that_vendor_whoever_writes_its_address(
    name: str, url: str, goes: bool, project: Path
) -> None:
    (project / "understudy.toml").write_text(
        f'[providers.{name}]\nuses = "openai"\nbase_url = "{url}"\napi_key_env = "GROQ_API_KEY"\n'
    )
    settings = Settings(environment={"GROQ_API_KEY": KEY}, directory=project)
    own = settings.for_provider(name)

    def account() -> tuple[str | None, str]:
        key = own.api_key("OPENAI_API_KEY")
        return key and key.reveal(), own.base_url("OPENAI_BASE_URL", default="")

    if goes:
        assert account() == (KEY, url.rstrip("/"))
        return
    with pytest.raises(ConfigurationError, match=f"LLM_TRUSTED_FOLDERS={project}"):
        account()


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "POLLY_API_KEY"])
def test_a_table_names_no_variable_of_the_environment_but_its_own(variable: str, project: Path) -> None:
    tables = project / "understudy.toml"
    tables.write_text(f'[providers.polly]\nuses = "openai"\napi_key_env = "{variable}"\n')
    environment = {variable: KEY}
    own = Settings(environment=environment, directory=project).for_provider("polly")
    if variable != "AWS_SECRET_ACCESS_KEY":
        assert own.api_key("OPENAI_API_KEY") is not None
        return
    with pytest.raises(ConfigurationError) as caught:
        own.api_key("OPENAI_API_KEY")
    assert str(caught.value) == (
        f"api_key_env in [providers.polly] in {tables}: expected POLLY_API_KEY or OPENAI_API_KEY, found "
        "'AWS_SECRET_ACCESS_KEY' of the environment, but a file may not send just any variable; rename it, or set "
        f"LLM_TRUSTED_FOLDERS={project} if you trust whoever writes there"
    )
    environment["LLM_TRUSTED_FOLDERS"] = str(project)
    assert Settings(environment=environment, directory=project).for_provider("polly").api_key("OPENAI_API_KEY")
    (project / ".env").write_text(f"{variable}={KEY}\n")  # what stands beside the table is the file's own
    assert Settings(environment={}, directory=project).for_provider("polly").api_key("OPENAI_API_KEY")


@pytest.mark.parametrize("name", ["claude", "openai", "gemini", "cohere", "ollama"])
def test_no_provider_of_ours_is_made_for_a_strangers_address(name: str, project: Path) -> None:
    prefix = {"claude": "ANTHROPIC", "gemini": "GOOGLE"}.get(name, name.upper())
    address = {"gemini": "GOOGLE_GEMINI_BASE_URL", "cohere": "CO_API_URL", "ollama": "OLLAMA_HOST"}
    variable = address.get(name, f"{prefix}_BASE_URL")
    (project / ".env").write_text(f"{variable}=https://stranger.example\n")
    pytest.importorskip(f"understudy_{name}")
    settings = Settings(environment={f"{prefix}_API_KEY": KEY}, directory=project)
    response = LLMFactory(name, [], settings=settings, extensions=[]).generate_content("secret")
    assert not response.success
    said = f"{prefix}_API_KEY of the environment does not go to {variable} of .env: set that in the environment too, or"
    assert f"{said} LLM_TRUSTED_FOLDERS=" in response.attempts[0].reason


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "VERTEX_BASE_URL=https://stranger.example",
            "credentials of this machine of the environment does not go to VERT",
        ),
        ("VERTEX_LOCATION=stranger.example/", "VERTEX_LOCATION in .*: expected a location such as europe-west1, found"),
        ("GOOGLE_CLOUD_LOCATION=us@stranger.example/", "GOOGLE_CLOUD_LOCATION in .*: expected a location such as"),
    ],
)
def test_a_token_of_google_goes_to_no_strangers_address(lines: str, said: str, project: Path) -> None:
    (project / ".env").write_text(
        f"{lines}\nGOOGLE_APPLICATION_CREDENTIALS=/home/user/adc.json\nGOOGLE_CLOUD_PROJECT=p\n"
    )
    vertex = pytest.importorskip("understudy_gemini.vertex")
    with pytest.raises(ConfigurationError, match=said):
        vertex.understudy_provider(Settings(environment={}, directory=project).for_provider("vertex"))


@pytest.mark.parametrize("prefix", ["ANTHROPIC", "OPENAI"])
def test_headers_that_an_sdk_takes_from_the_environment_are_keys(prefix: str, project: Path) -> None:
    (project / ".env").write_text(f"{prefix}_BASE_URL={URL}\n{prefix}_API_KEY=key-of-the-file\n")
    plugin = pytest.importorskip(f"understudy_{ {'ANTHROPIC': 'claude'}.get(prefix, 'openai') }")
    environment = {f"{prefix}_CUSTOM_HEADERS": f"X-Gateway-Key: {KEY}"}
    with pytest.raises(
        ConfigurationError, match=f"{prefix}_CUSTOM_HEADERS of the environment does not go to {prefix}_BAS"
    ):
        plugin.understudy_provider(Settings(environment=environment, directory=project))


# ---- sizes and depths ----


def test_a_file_has_a_greatest_size(tmp_path: Path) -> None:
    for name in (".env", "understudy.toml"):
        file = tmp_path / name
        file.write_text("#" * MOST_BYTES)
        Settings(environment={}, directory=tmp_path)
        file.write_text("#" * (MOST_BYTES + 1))
        with pytest.raises(ConfigurationError) as caught:
            Settings(environment={}, directory=tmp_path)
        assert str(caught.value) == f"{file}: expected at most 1,048,576 bytes, found more; make it smaller"
        file.unlink()


def nest(levels: int, opening: str, closing: str) -> str:
    return "a = " + opening * levels + closing * levels


@pytest.mark.parametrize(
    "text",
    [
        nest(MOST_LEVELS + 1, "[", "]"),
        nest(100_000, "[", "]"),
        "a = " + "[" * 1_000_000,
        "a = " + "{b=" * 100_000,
        ".".join("a" * 300_000) + " = 1",
        "[" + ".".join('"a"' for _ in range(200_000)) + "]",
        "[" + " . ".join("'a'" for _ in range(100_000)) + "]",
        "\n".join(f"[{'.'.join('a' * (20 * n))}.b]" for n in range(1, 5)),
    ],
    ids=range(8),
)
def test_a_table_has_a_greatest_depth_and_costs_little_time(text: str, tmp_path: Path) -> None:
    file = tmp_path / "understudy.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"expected at most 64 levels of tables and lists, found more$"):
        Settings(environment={}, directory=tmp_path)  # a key of 300,000 parts took tomllib twenty minutes


def test_what_is_as_deep_as_it_may_be_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(nest(MOST_LEVELS - 1, "[", "]") + '\n"' + "." * 200 + '" = 1\n')
    assert len(read_toml(file)) == 2


# ---- the lock ----


def make_folder(file: Path) -> None:
    file.mkdir()


def make_pipe(file: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in folders here")
    os.mkfifo(file)


def make_dangling(file: Path) -> None:
    file.symlink_to("nowhere")


def make_large(file: Path) -> None:
    file.write_text("#" * (MOST_BYTES + 1))


def make_deep(file: Path) -> None:
    file.write_text("version = " + "[" * 5_000)


def make_unreadable(file: Path) -> None:
    file.symlink_to("/proc/self/mem" if os.access("/proc/self/mem", os.R_OK) else "/etc/shadow")
    if sys.platform != "linux":
        pytest.skip("which file cannot be read here is not known")


def make_anybodys(file: Path) -> None:
    file.write_text("version = 1\n")
    if os.name != "posix":
        pytest.skip("files have no owner there that could be looked at")
    file.chmod(0o666)


@pytest.mark.parametrize(
    "make", [make_folder, make_pipe, make_dangling, make_large, make_deep, make_unreadable, make_anybodys]
)
def test_a_lock_that_cannot_be_read_lets_nothing_load(
    make: Callable[[Path], None], project: Path, tmp_path: Path
) -> None:
    make(tmp_path / "understudy.lock")
    pytest.importorskip("understudy_sandbox")
    with pytest.raises(UntrustedPlugin, match=r"^provider 'echo' .* is not loaded: .*understudy.lock"):
        LLMFactory("echo", settings=Settings(environment={}, directory=project), extensions=[])
