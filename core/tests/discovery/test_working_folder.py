"""Under a list or a lock no code comes from the folder that a program runs in, and what runs is what was hashed."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import HOOK, build, install, record, refuse, trusting

from understudy.discovery import hashed
from understudy.discovery.distributions import list_imports, read_contents
from understudy.errors import UntrustedPlugin

if TYPE_CHECKING:
    from conftest import Site

RAN = "print('A STRANGER RAN')\n"
ASK = "from understudy import LLMFactory; print(LLMFactory('parrot', [], extensions=[]).generate_content('x').content)"


def run(site: Site, folder: Path, *command: str, lock: bool = False, **environment: str) -> str:
    """Run a program in a folder, by default under a list that names the parrot, and return all that it says."""
    site.folder.parent.joinpath("understudy.lock").unlink(missing_ok=True)
    if lock:
        trusting(site, lock=True)
    path = os.pathsep.join([str(site.folder), *(entry for entry in sys.path[1:] if entry)])
    listed = {} if lock else {"LLM_TRUSTED_PLUGINS": "understudy-parrot"}
    done = subprocess.run(
        [sys.executable, *(command or ("-c", ASK))],
        env={**os.environ, "PYTHONPATH": path, **listed, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that programs run in."""
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def needy(site: Site) -> Site:
    """A parrot that needs a seed, which it imports with its first answer, a namespace's part and a module of Python."""
    for name, text in (("seed", "PLANTED = 'seed'\n"), ("shared/corn", "PLANTED = 'corn'\n")):
        distribution = name.replace("/", "-")
        record(site.install(distribution, modules={name: text}))
    info = install(site)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: understudy-parrot\nVersion: 1.0\nRequires-Dist: seed\n"
    )
    with (info / "METADATA").open("a") as file:
        file.write('Requires-Dist: shared-corn (>=1) ; python_version > "3"\n')
    bird = site.folder / "understudy_parrot" / "bird.py"
    lines = "import seed, shared.corn, plistlib\n        "
    bird.write_text(bird.read_text().replace("return LLM", f"{lines}return LLM").replace('"hello"', "seed.PLANTED"))
    record(info)
    return site


# ---- distributions in the working folder ----


def plant(folder: Path, name: str = "understudy-parrot", *, kind: str = "egg-info") -> Path:
    """Put a distribution and a module of the right names into a folder, as a stranger would."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(RAN + HOOK)
    info = folder / (f"{module}.egg-info" if kind == "egg-info" else f"{module}-1.0.dist-info")
    info.mkdir()
    (info / ("PKG-INFO" if kind == "egg-info" else "METADATA")).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[understudy.providers]\nparrot = {module}\n")
    if kind == "editable":
        origin = {"url": folder.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))
    if kind in ("hashed", "editable"):
        (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        record(info)
    return info


@pytest.mark.parametrize(
    ("kind", "installed"),
    [
        ("egg-info", True),
        ("egg-info", False),
        ("dist-info", False),
        ("hashed", True),
        ("hashed", False),
        ("editable", False),
    ],
)
def test_a_distribution_in_the_working_folder_is_refused(kind: str, installed: bool, site: Site, folder: Path) -> None:
    if installed:
        install(site)
    plant(folder, kind=kind)
    said = run(site, folder, LLM_TRUSTED_PLUGINS="understudy-parrot==1.0")
    assert "A STRANGER RAN" not in said
    if installed:
        assert f"expected one distribution of that name, found {folder}" in said
    elif kind in ("hashed", "editable"):
        assert f"expected it where packages are installed, found it in {folder}, where the program runs" in said
        trusted = run(site, folder, LLM_TRUSTED_FOLDERS=str(folder))
        assert "A STRANGER RAN" in trusted  # no stranger, then
    else:
        assert "expected a RECORD with the hashes of its files, found none; install it from a wheel" in said


def test_neither_can_such_a_one_be_locked(site: Site, folder: Path) -> None:
    from understudy import ConfigurationError
    from understudy.discovery import PluginLock

    install(site)
    info = plant(folder, kind="hashed")
    sys.path.insert(0, str(folder))
    with pytest.raises(
        ConfigurationError, match=r"^understudy-parrot 1.0: expected one distribution of that name, found"
    ):
        PluginLock.of_installed()
    refuse(trusting(site, "understudy-parrot"), "expected one distribution of that name", str(info))


def test_what_setuptools_leaves_in_an_editable_source_is_no_second_one(site: Site, tmp_path: Path) -> None:
    info = install(site)
    source = tmp_path / "source"
    source.mkdir()
    (site.folder / "understudy_parrot").rename(source / "understudy_parrot")
    plant(source)
    (source / "understudy_parrot.py").unlink()
    origin = {"url": source.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    sys.path.append(str(source))  # as its .pth file says
    try:
        assert build(trusting(site, "understudy-parrot")).get_provider_name() == "parrot"
    finally:
        for name in [name for name in sys.modules if name.startswith("understudy_parrot")]:
            del sys.modules[name]


def test_an_editable_one_is_imported_from_its_own_source_alone(site: Site, tmp_path: Path) -> None:
    info = install(site)
    origin = {"url": (tmp_path / "source").as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    expected = f"expected to import a file below {tmp_path / 'source'}, where understudy-parrot is installed from"
    refuse(trusting(site, "understudy-parrot"), expected)


def test_an_editable_one_may_be_in_a_folder_without_code_that_several_share(site: Site, tmp_path: Path) -> None:
    info = install(site)
    source = tmp_path / "source"
    (source / "birds").mkdir(parents=True)
    (site.folder / "understudy_parrot").rename(source / "birds" / "understudy_parrot")
    for file in (source / "birds" / "understudy_parrot").glob("*.py"):
        file.write_text(file.read_text().replace("understudy_parrot", "birds.understudy_parrot"))
    (info / "entry_points.txt").write_text("[understudy.providers]\nparrot = birds.understudy_parrot\n")
    (info / "direct_url.json").write_text(json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}}))
    sys.path.append(str(source))
    try:
        assert build(trusting(site, "understudy-parrot")).get_provider_name() == "parrot"
    finally:
        for name in [name for name in sys.modules if name.startswith("birds")]:
            del sys.modules[name]


def test_of_a_package_and_a_module_of_one_name_the_package_counts_as_it_does_for_python(site: Site) -> None:
    info = install(site)
    (site.folder / "understudy_parrot" / "bird").mkdir()
    (site.folder / "understudy_parrot" / "bird" / "__init__.py").write_text("WORD = 'package'\n")
    with (info / "RECORD").open("a") as file:
        file.write("understudy_parrot/bird/__init__.py,,\n")
    record(info)
    files = hashed.hold(read_contents("understudy-parrot"))
    assert Path(files["understudy_parrot.bird"]).name == "__init__.py"


def test_a_file_without_a_suffix_is_no_module(site: Site) -> None:
    info = install(site)
    (site.folder / "understudy_parrot" / "words").write_text("hello\n")
    with (info / "RECORD").open("a") as file:
        file.write("understudy_parrot/words,,\n")
    record(info)
    files = hashed.hold(read_contents("understudy-parrot"))
    assert sorted(files) == ["understudy_parrot", "understudy_parrot.bird"]


def test_metadata_that_says_anything_is_refused_in_a_sentence(site: Site) -> None:
    info = install(site)
    (info / "direct_url.json").write_text('{"dir_info": []}')
    refuse(
        trusting(site, "understudy-parrot"), "expected the metadata of an installed distribution, found AttributeErr"
    )


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "shake_128", "nonsense"])
def test_a_weak_hash_is_none(algorithm: str, site: Site) -> None:
    info = install(site)
    text = (info / "RECORD").read_text()
    (info / "RECORD").write_text(text.replace("sha256=", f"{algorithm}="))
    refuse(trusting(site, "understudy-parrot"), "expected a RECORD with the hashes of its files, found none")


def test_an_entry_point_names_a_module_of_its_own_distribution(site: Site) -> None:
    for module in ("understudy_raven", "__main__", "sys", "json"):
        for old in site.folder.glob("understudy_parrot*"):
            old.rename(site.folder.parent / f"{module}-{old.name}")
        info = install(site)
        (info / "entry_points.txt").write_text(f"[understudy.providers]\nparrot = {module}\n")
        (site.folder / "understudy_raven.py").write_text(RAN)
        record(info)
        refuse(trusting(site, "understudy-parrot"), "expected to import a file of understudy-parrot in")
        from understudy.discovery.distributions import look_around

        look_around(again=True)


# ---- what a plugin needs ----


SHADOWS = ["seed.py", "shared/corn.py", "plistlib.py", "dotenv.py"]


@pytest.mark.parametrize(("way", "lock"), [("-c", False), ("-m", True), ("script", True), ("console", False)])
def test_what_a_plugin_needs_does_not_come_from_the_working_folder(
    way: str, lock: bool, needy: Site, folder: Path
) -> None:
    for shadow in SHADOWS:
        (folder / shadow).parent.mkdir(exist_ok=True)
        (folder / shadow).write_text(RAN)
    (folder / ".env").write_text("A=1\n")  # so that dotenv is needed
    (folder / "program.py").write_text(ASK)
    command = {
        "-c": ("-c", ASK),
        "-m": ("-m", "program"),
        "script": (str(folder / "program.py"),),
        "console": ("-c", f"import sys; sys.path.insert(0, ''); {ASK}"),
    }[way]
    assert run(needy, folder, *command, lock=lock) == "seed\n"


def test_the_folder_of_a_script_is_no_better(needy: Site, folder: Path, tmp_path: Path) -> None:
    (folder / "program.py").write_text(ASK)
    (folder / "seed").mkdir()
    (folder / "seed" / "__init__.py").write_text(RAN)
    assert run(needy, tmp_path, str(folder / "program.py")) == "seed\n"
    moved = f"import os; os.chdir({str(tmp_path)!r}); {ASK}"
    assert run(needy, folder, "-c", moved) == "seed\n"


def test_what_came_from_there_before_is_told(needy: Site, folder: Path) -> None:
    (folder / "seed.py").write_text("")
    said = run(needy, folder, "-c", f"import seed; {ASK}")
    assert f"expected seed from where packages are installed, found {folder / 'seed.py'} imported already" in said
    (folder / "seed.py").write_text("PLANTED = 'own'\n")
    assert run(needy, folder, "-c", f"import seed; {ASK}", LLM_TRUSTED_FOLDERS=str(folder)) == "own\n"


def test_a_programs_own_modules_stay_its_own(needy: Site, folder: Path) -> None:
    (folder / "own.py").write_text("WORD = 'own'\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").write_text("WORD = 'tests'\n")
    assert run(needy, folder, "-c", f"{ASK}; import own, tests; print(own.WORD, tests.WORD)") == "seed\nown tests\n"


def test_a_missing_dependency_is_missing_and_not_taken_from_there(needy: Site, folder: Path) -> None:
    (needy.folder / "seed.py").unlink()
    (folder / "seed.py").write_text(RAN)
    said = run(
        needy, folder, "-c", "from understudy.files.working_folder import keep_out; keep_out(['seed']); import seed"
    )
    assert said.endswith("ModuleNotFoundError: No module named 'seed' outside of the working folder\n")


def test_needs_are_read_from_every_copy_of_the_metadata(needy: Site, folder: Path) -> None:
    plant(folder, "seed", kind="hashed")
    names, sources = list_imports("understudy-parrot", (str(folder), *sys.path))
    assert {"understudy_parrot", "seed", "shared"} <= names
    assert "tests" not in names
    assert folder not in sources


# ---- what was hashed is what runs ----


def test_bytecode_that_was_put_there_never_runs(site: Site, tmp_path: Path) -> None:
    install(site)
    bird = site.folder / "understudy_parrot" / "bird.py"
    evil = tmp_path / "evil.py"
    evil.write_text(bird.read_text() + "raise SystemExit('it ran')\n")
    cached = Path(sys.implementation.cache_tag and f"__pycache__/bird.{sys.implementation.cache_tag}.pyc")
    target = bird.parent / cached
    py_compile.compile(
        str(evil), str(target), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert build(trusting(site, "understudy-parrot")).get_provider_name() == "parrot"


@pytest.mark.parametrize("when", ["before it is imported", "before a later part is"])
def test_what_changes_between_the_check_and_the_import_does_not_run(
    when: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = install(site)
    (site.folder / "understudy_parrot" / "late.py").write_text("WORD = 'late'\n")
    with (info / "RECORD").open("a") as file:
        file.write("understudy_parrot/late.py,,\n")
    record(info)
    bird, late = (site.folder / "understudy_parrot" / f"{name}.py" for name in ("bird", "late"))
    settings = trusting(site, "understudy-parrot")
    if when == "before it is imported":
        original = hashed.hold

        def hold_and_change(contents: object) -> object:
            held = original(contents)  # type: ignore[arg-type]  # it is passed on
            bird.write_text(RAN)
            return held

        monkeypatch.setattr("understudy.discovery.trust.hold", hold_and_change)
        with pytest.raises(UntrustedPlugin, match=r"bird.py: expected the file that was checked"):
            build(settings)
        return
    build(settings)
    late.write_text(RAN)
    (late.parent / "added.py").write_text(RAN)
    with pytest.raises(UntrustedPlugin, match="late"):
        __import__("understudy_parrot.late")
    with pytest.raises(ModuleNotFoundError, match=r"'understudy_parrot.added' came with its distribution"):
        __import__("understudy_parrot.added")


def test_packages_within_packages_folders_without_code_and_compiled_modules_load(site: Site) -> None:
    info = install(site)
    home = site.folder / "understudy_parrot"
    source = site.folder.parent / "bare.py"
    source.write_text("WORD = 'bare'\n")
    py_compile.compile(str(source), str(home / "bare.pyc"), doraise=True)
    for name, text in (("deep/__init__.py", ""), ("deep/er.py", "WORD = 'er'\n"), ("data/more/x.py", "WORD = 'x'\n")):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    added = ["bare.pyc", "deep/__init__.py", "deep/er.py", "data/more/x.py"]
    extensions = Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("_heapq.*.so")
    for extension in extensions:
        (home / extension.name).write_bytes(extension.read_bytes())
        added.append(extension.name)
    with (info / "RECORD").open("a") as file:
        file.write("".join(f"understudy_parrot/{name},,\n" for name in added))
    record(info)
    build(trusting(site, "understudy-parrot"))
    program = "from understudy_parrot import bare, deep; from understudy_parrot.deep import er; "
    program += "from understudy_parrot.data.more import x; words = [bare.WORD, er.WORD, x.WORD]"
    found: dict[str, list[str]] = {}
    exec(program, found)
    assert found["words"] == ["bare", "er", "x"]
    if len(added) > 4:
        assert type(__import__("understudy_parrot._heapq", fromlist=["x"]).__loader__) is hashed._Extension
        (home / added[-1]).write_bytes(b"")
        del sys.modules["understudy_parrot._heapq"]
        with pytest.raises(UntrustedPlugin):
            __import__("understudy_parrot._heapq")


def test_an_archive_and_a_link_are_held_to_the_same(site: Site, folder: Path) -> None:
    install(site)
    home = site.folder / "understudy_parrot"
    (folder / "bird.py").write_text(textwrap.dedent(RAN))
    (home / "bird.py").unlink()
    (home / "bird.py").symlink_to(folder / "bird.py")
    refuse(trusting(site, "understudy-parrot"), "changed: understudy_parrot/bird.py")
    import zipfile

    archive = folder / "site.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in site.folder.rglob("*"):
            made.write(file, file.relative_to(site.folder).as_posix())
    sys.path[0] = str(archive)
    refuse(trusting(site, "understudy-parrot"), "missing: ")
