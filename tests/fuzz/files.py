"""`.env`, `understudy.toml`, `understudy.lock` and the names of a route, as a stranger might write them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as some

from fuzz import held
from fuzz.bodies import mangled, rarely
from fuzz.corpus import KEY
from understudy import LLMFactory, Settings
from understudy.discovery.lock import PluginLock
from understudy.errors import ConfigurationError

MOST_HELD = 64 * 2**20  # bytes for files of at most a few megabytes, what is imported for them included
NAMES = ("claude", "openai", "gemini", "vertex", "gemini-legacy", "cohere", "ollama", "echo", "groq", "nobody")
ENV = f"""# keys
OPENAI_API_KEY={KEY}
ANTHROPIC_API_KEY="{KEY}"
export GOOGLE_API_KEY='{KEY}'
COHERE_API_KEY={KEY}  # a comment
OPENAI_BASE_URL=https://api.openai.com/v1
LLM_PRIMARY_PROVIDER=gemini
LLM_FALLBACK_PROVIDERS=claude:claude-haiku-4-5, openai,ollama
LLM_POLICY=patient
OPENAI_TRANSPORT=http
CLAUDE_MODEL=a-model
LLM_TRUSTED_PLUGINS=understudy-gemini, understudy-claude==0.1.0
"""
TOML = """[providers.groq]
uses = "openai"
base_url = "https://api.groq.com/openai/v1"
api_key_env = "GROQ_API_KEY"
model = "llama"

[limits.groq]
requests_per_minute = 30
tokens_per_minute = 6000

[limits."claude:a"]
requests_per_day = 1
"""
LOCK = """version = 1

[plugins.understudy-claude]
version = "0.1.0"
record = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

[plugins.understudy-claude.files]

[plugins.understudy-gemini]
version = "0.1.0"
editable = true
"""
BITS = (
    *("=", "\n", '"', "'", "#", "${OPENAI_API_KEY}", "${A:-${A}}", "\\", "\x00", "\ufeff", "\r", "\t", " ", "export "),
    *("[" * 2_000, "a." * 2_000 + "a = 1", "x = " + "[" * 2_000, "{a={a={}}}", "nan", "inf", "-1", "1e400", "true"),
    *("1979-05-27T07:32:00Z", "9" * 5_000, '"""', "'''", "[providers]", "[[limits]]", "[providers.x]", "version = 2"),
    *("\ud800", "\u202e", "sha256=", "md5=", "/../", "limits = 1", "providers = []", "[limits.groq]", "uses = 'groq'"),
)
ODD_NAMES = (
    "",
    " ",
    ":",
    ":a",
    "a:",
    "a:b:c",
    "claude:",
    ",",
    ",,",
    "CLAUDE",
    "cl\naude",
    "\x00",
    "é",
    "x" * 5_000,
    "*",
)


@cache
def folder() -> Path:
    """Return an empty folder."""
    return Path(tempfile.mkdtemp(prefix="fuzz-files-"))


@some.composite
def files(draw: Any) -> tuple[str, bytes]:
    """One of the three files, spoiled."""
    name, text = draw(some.sampled_from(((".env", ENV), ("understudy.toml", TOML), ("understudy.lock", LOCK))))
    lines = text.splitlines(keepends=True)
    for _ in range(draw(some.integers(0, 4))):
        place = draw(some.integers(0, len(lines) - 1)) if lines else 0
        match draw(some.sampled_from(("drop", "repeat", "insert", "value", "bit"))):
            case "drop" if lines:
                del lines[place]
            case "repeat" if lines:
                lines.insert(draw(some.integers(0, len(lines))), lines[place])
            case "insert":
                lines.insert(place, draw(some.sampled_from(BITS)) + "\n")
            case "value" if lines and "=" in lines[place] and KEY not in lines[place]:
                lines[place] = lines[place].partition("=")[0] + "=" + draw(some.sampled_from(BITS)) + "\n"
            case "bit" if lines:
                at = draw(some.integers(0, len(lines[place])))
                lines[place] = lines[place][:at] + draw(some.sampled_from(BITS)) + lines[place][at:]
    data = "".join(lines).encode("utf-8", "surrogatepass")
    if rarely(draw, 5):
        data = mangled(draw, data)
    if rarely(draw, 20):
        data = data.decode("utf-8", "replace").encode(draw(some.sampled_from(("utf-16", "latin-1"))), "replace")
    if rarely(draw, 40):
        data *= draw(some.sampled_from((500, 5_000)))
    return name, data


def check_file(example: tuple[str, bytes]) -> None:
    """Hold that a file is read, or refused in words of ours, without a key in them, in little time and memory."""
    name, data = example
    for old in folder().iterdir():
        old.unlink()
    file = folder() / name
    file.write_bytes(data)
    refused = ""
    with held.in_time(), held.listening(), held.within(len(data), MOST_HELD):
        try:
            settings = Settings(environment={}, directory=folder())
            repr(settings)
            if name == "understudy.lock":
                lock = PluginLock.read(file)
                assert PluginLock.read(_written(str(lock))) == lock
            factory = LLMFactory(settings=settings)
            assert KEY not in repr([factory, factory.route])
        except ConfigurationError as error:
            refused = f"{error} {error!r} {vars(error)}"
    assert KEY not in refused, "the key is in an error"


def _written(text: str) -> Path:
    file = folder() / "again.lock"
    file.write_text(text, "utf-8")
    return file


@some.composite
def routes(draw: Any) -> tuple[Any, Any, Any]:
    """A primary, fallbacks, and whether they are settings."""
    name = some.sampled_from(NAMES) | some.sampled_from(ODD_NAMES) | some.text(max_size=6)
    target = some.builds(lambda one, model: f"{one}:{model}", name, name) | name
    joined = some.lists(target, max_size=4).map(",".join)
    return draw(target), draw(joined | some.text(max_size=12)), draw(some.booleans())


def check_route(example: tuple[Any, Any, Any]) -> None:
    """Hold that a route is read, or refused in words of ours."""
    primary, fallbacks, as_settings = example
    told = {"OPENAI_API_KEY": KEY}
    if as_settings:
        told |= {"LLM_PRIMARY_PROVIDER": primary, "LLM_FALLBACK_PROVIDERS": fallbacks}
    refused = ""
    with held.in_time(), held.listening():
        try:
            settings = Settings(told, environment={}, directory=folder())
            factory = (
                LLMFactory(settings=settings) if as_settings else LLMFactory(primary, fallbacks, settings=settings)
            )
            labels = [target.label for target, _ in factory.route]
            assert len(set(labels)) == len(labels), labels
            repr(factory)
        except ConfigurationError as error:
            refused = repr(error)
    assert KEY not in refused, "the key is in an error"
