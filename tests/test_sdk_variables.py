"""Every variable of the environment that an SDK reads is known here, and led astray or passed over for a reason."""

import ast
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

import pytest
import test_conformance as contract

CLOUDS = "of a client for another cloud, or of the SDK's own tools; none is made here"
MODELS = "of its models, which are not made from replies here"
PASSED_OVER = {
    "openai": {"AWS_*": CLOUDS, "GOOGLE_CLOUD_*": CLOUDS, "DEFER_PYDANTIC_BUILD": MODELS, "OPENAI_LOG": "its own log"},
    "anthropic": {
        "ANTHROPIC_BEDROCK_*": CLOUDS,
        "ANTHROPIC_FOUNDRY_*": CLOUDS,
        "ANTHROPIC_GOOGLE_CLOUD_*": CLOUDS,
        "ANTHROPIC_VERTEX_*": CLOUDS,
        "ANTHROPIC_AWS_*": CLOUDS,
        "ANTHROPIC_ENVIRONMENT_*": CLOUDS,
        "ANTHROPIC_WORK*": CLOUDS,
        "AWS_*": CLOUDS,
        "CLOUD_ML_REGION": CLOUDS,
        "GOOGLE_CLOUD_PROJECT": CLOUDS,
        "ANTHROPIC_WEBHOOK_SIGNING_KEY": "it checks what webhooks bring",
        "ANTHROPIC_OPEN_TELEMETRY*": "it tells the program's own tracer",
        "ANTHROPIC_LOG": "its own log",
        "APPDATA": "a folder of Windows, where profiles are",
        "DEFER_PYDANTIC_BUILD": MODELS,
    },
    "cohere": {"AWS_*": CLOUDS},
    "ollama": {},
    "google.genai": {
        "GOOGLE_GENAI_DEBUG": "its own log",
        "SSL_CERT_*": "of clients that it makes itself; here it is given the HTTP clients",
        "GOOGLE_CLOUD_LOCATION": "the provider vertex reads it too",
        "PYTEST_CURRENT_TEST": CLOUDS,
    },
    "google.generativeai": {"COLAB_RELEASE_TAG": "a notebook of Google's"},
}
CERTIFIED = {
    "openai": contract.TestOpenAI,
    "anthropic": contract.TestClaude,
    "cohere": contract.TestCohere,
    "ollama": contract.TestOllama,
    "google.genai": contract.TestGemini,
    "google.generativeai": contract.TestGeminiLegacy,
}
READERS = ("environ.get", "getenv", "environ.pop", "environ.setdefault")


def read_by(package):
    """Return the names that the modules of a package take from the environment, as far as they stand in it."""
    found, named = set(), {}
    home = Path(find_spec(package).submodule_search_locations[0])
    for file in sorted(home.rglob("*.py")):
        source = file.read_text("utf-8")
        if "tests" in file.relative_to(home).parts or not any(word in source for word in ("environ", "getenv", "ENV_")):
            continue
        for node in ast.walk(ast.parse(source)):
            asked = None
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(READERS) and node.args:
                asked = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
                asked = node.slice
            elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("environ"):
                asked = node.left
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                for target in node.targets:
                    if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                        named[target.id] = node.value.value
            if isinstance(asked, ast.Constant):
                found.add(asked.value)
            elif isinstance(asked, ast.Name):
                found.add(asked.id)
    return {named.get(name, name) for name in found if name.isupper()}


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in older versions of google-genai
@pytest.mark.parametrize("package", CERTIFIED)
def test_no_variable_that_an_sdk_reads_is_unknown(package):
    names = read_by(package)
    assert names, f"{package} was found to read nothing, which is not so"
    certified = CERTIFIED[package]
    known = {*certified.read_by_sdk, certified.key, certified.url_setting}
    passed_over = PASSED_OVER[package]
    unknown = {name for name in names - known if not any(fnmatchcase(name, pattern) for pattern in passed_over)}
    assert unknown == set(), f"{package} reads these: say in test_conformance.py or here what must come of them"
