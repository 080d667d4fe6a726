"""Which module may import which, where import-linter (pyproject.toml) cannot say it: read from the sources."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "src" / "understudy"
PACKAGES = sorted(
    path.parent for path in [*ROOT.glob("core/src/*/__init__.py"), *ROOT.glob("plugins/*/src/*/__init__.py")]
)
PLUGINS = [package for package in PACKAGES if package != CORE]
MODULES = [module for package in PACKAGES for module in sorted(package.rglob("*.py"))]
distributions = cache(packages_distributions)
IMPORT = (ast.Import, ast.ImportFrom)
EXTRAS = {"pricing.py": {"genai_prices"}, "json_schema.py": {"jsonschema", "referencing"}}  # imported inside functions
PURE = {"wire.py", "failures.py", "models.py"}  # of a plugin: translation without SDK
TOOLKIT = ROOT / "plugins" / "understudy-toolkit" / "src" / "understudy_toolkit"
GEMINI_WIRE = ROOT / "plugins" / "understudy-gemini-wire" / "src" / "understudy_gemini_wire"
SHARED = {"understudy_toolkit": TOOLKIT, "understudy_gemini_wire": GEMINI_WIRE}  # what plugins are built on
# Modules of the core whose names are all public, for those who build on it.
NOUNS = ("classify", "errors", "factory", "masking", "messages", "provider", "response", "settings", "target", "usage")
# Whose public names a plugin may import besides those at the top.
PUBLIC = ("classify", "errors", "events", "masking", "provider", "response")
ROOMS = ("discovery", "explain", "health", "routing")
# What the toolkit needs besides: how a class of three methods is told, who is installed, and threads that end with us.
BESIDES = {
    ("understudy.concurrency.fork_safety", "begin_anew_in_child"),
    ("understudy.discovery.distributions", "InstalledProvider"),
    ("understudy.routing.adapters", "PlainProvider"),
    ("understudy.concurrency.out_of_time", "next_by"),
    ("understudy.concurrency.threads", "in_thread"),
    ("understudy.concurrency.threads", "start"),
}


def parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"), str(module))


def imports(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name or "", line) for every absolute import, also for those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)


@cache
def imports_of(module: Path) -> list[tuple[str, str, int]]:
    """Return all imports of a module."""
    return list(imports(parse(module)))


def public_names(module: Path) -> set[str]:
    """Return the names in a module's __all__."""
    for node in parse(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no __all__")


def defined_names(module: Path) -> set[str]:
    """Return the names that a module defines itself, but for those with an underscore."""
    names = set()
    for node in parse(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return {name for name in names if not name.startswith("_")}


def third_party(module: Path) -> dict[str, int]:
    """Return the top-level packages that a module imports from outside its own and the standard library."""
    own = next(package.name for package in PACKAGES if package in module.parents)
    tops = {name.partition(".")[0]: line for name, _, line in imports_of(module)}
    return {top: line for top, line in tops.items() if top != own and top not in sys.stdlib_module_names}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_core_is_there_to_be_looked_at() -> None:
    assert CORE in PACKAGES
    assert (CORE / "engine" / "decision.py") in MODULES


@pytest.mark.parametrize("module", sorted(CORE.rglob("*.py")), ids=place)
def test_the_core_imports_pluggy_and_dotenv_and_nothing_else(module: Path) -> None:
    alone = module.name in ("messages.py", "response.py", "errors.py") or module.parent.name == "engine"
    allowed = set() if alone else {"pluggy", "dotenv"}
    allowed |= EXTRAS.get(module.name, set())
    assert {top: line for top, line in third_party(module).items() if top not in allowed} == {}


@pytest.mark.parametrize("module", EXTRAS)
def test_the_core_imports_an_extra_inside_functions(module: str) -> None:
    at_once = [node for node in parse(CORE / "extras" / module).body if isinstance(node, IMPORT)]
    tops = {name.partition(".")[0] for node in at_once for name, _, _ in imports(node)}
    assert tops & EXTRAS[module] == set()


def test_the_tests_have_what_the_extras_of_the_core_and_the_toolkit_ask_for() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["test"]
    for package in ("core", "plugins/understudy-toolkit"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text("utf-8"))["project"]
        assert set(chain(*project["optional-dependencies"].values())) <= set(group)


@pytest.mark.parametrize(
    ("what", "only"),
    [
        ("os.environ", "settings.py"),
        ("os.getenv", "settings.py"),
        ("dotenv", "env_file.py"),
        ("importlib.metadata", "distributions.py"),
    ],
)
def test_the_core_reads_its_surroundings_in_one_place(what: str, only: str) -> None:
    users = {
        module.name
        for module in CORE.rglob("*.py")
        for name in [
            *(f"{source}.{name}" for source, name, _ in imports_of(module)),
            *(ast.unparse(node) for node in ast.walk(parse(module)) if isinstance(node, ast.Attribute)),
        ]
        if f"{name}.".startswith(f"{what}.")
    }
    assert users <= {only}


def public_home(source: str) -> set[str]:
    """Return the names that a plugin may import from a module of the core or of SHARED; "" is the module itself."""
    if source == "understudy":
        return public_names(CORE / "__init__.py") | {"testing", ""}
    if source.removeprefix("understudy.") in PUBLIC:
        return defined_names(CORE / f"{source.removeprefix('understudy.')}.py") | {""}
    if source.removeprefix("understudy.") in ROOMS:
        return public_names(CORE / source.removeprefix("understudy.") / "__init__.py") | {""}
    if source in ("understudy.discovery.packages", "understudy.files.reading"):
        return public_names(CORE.joinpath(*source.split(".")[1:]).with_suffix(".py"))
    if source == "understudy.testing":
        return public_names(CORE / "testing" / "__init__.py") | {""}
    package, *inner = source.split(".")
    if package not in SHARED:
        return set()
    module = SHARED[package].joinpath(*inner)
    if not inner:
        return {module.stem for module in module.glob("*.py")} - {"__init__"}
    return public_names(module / "__init__.py" if module.is_dir() else module.with_suffix(".py")) | {""}


@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS if plugin != TOOLKIT], ids=place)
def test_a_plugin_imports_only_public_names_of_the_core_and_of_what_is_shared(plugin: Path) -> None:
    private = [
        f"{place(module)}:{line} imports {name} from {source}"
        for module in sorted(plugin.rglob("*.py"))
        for source, name, line in imports_of(module)
        if source.partition(".")[0] in {"understudy", *SHARED} - {plugin.name} and name not in public_home(source)
    ]
    assert private == []


def test_the_toolkit_imports_of_the_core_what_everybody_shares() -> None:
    private = [
        f"{place(module)}:{line} imports {name} from {source}"
        for module in sorted(TOOLKIT.rglob("*.py"))
        for source, name, line in imports_of(module)
        if source.partition(".")[0] == "understudy"
        and (source.removeprefix("understudy.") not in NOUNS or name.startswith("_"))
        and name not in public_home(source)
        and (source, name) not in BESIDES
    ]
    assert private == []


def test_no_module_of_the_toolkit_but_the_suite_that_certifies_imports_it() -> None:
    inside = TOOLKIT / "conformance"
    users = [
        place(module)
        for module in sorted(TOOLKIT.rglob("*.py"))
        for source, _, _ in imports_of(module)
        if inside not in module.parents and f"{source}.".startswith("understudy_toolkit.conformance.")
    ]
    assert users == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=place)
def test_a_plugin_translates_without_an_sdk(plugin: Path) -> None:
    pure = [module for module in sorted(plugin.glob("*.py")) if module.name in PURE]
    needed = {place(module): sorted(third_party(module).keys() - {"understudy", *SHARED}) for module in pure}
    assert {module: tops for module, tops in needed.items() if tops} == {}


@pytest.mark.parametrize("provider", sorted(ROOT.glob("plugins/*/src/*/provider.py")), ids=place)
def test_a_provider_imports_its_sdk_inside_functions(provider: Path) -> None:
    at_once = [node for node in parse(provider).body if isinstance(node, IMPORT)]
    tops = {name.partition(".")[0] for node in at_once for name, _, _ in imports(node)}
    assert tops - sys.stdlib_module_names - {"understudy", *SHARED, provider.parent.name} == set()


@pytest.mark.parametrize("package", PACKAGES, ids=place)
def test_every_import_belongs_to_a_declared_dependency(package: Path) -> None:
    project = tomllib.loads((package.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    needs = chain(project.get("dependencies", []), *project.get("optional-dependencies", {}).values())
    declared = {canonical(re.split(r"[^\w.-]", need)[0]) for need in needs}
    installed = distributions()
    undeclared = {
        f"{place(module)}:{line} imports {top}"
        for module in sorted(package.rglob("*.py"))
        for top, line in third_party(module).items()
        if not declared & {canonical(name) for name in installed.get(top, [top])}
    }
    assert undeclared == set()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
