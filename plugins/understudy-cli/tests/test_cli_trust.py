"""`understudy lock`, what runs before anybody is asked, and names of their own: as the commands show them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

SECRET = "parrot-secret-0123456789"
KEY = {"PARROT_API_KEY": SECRET}


@pytest.fixture
def understudy(here: Any) -> Any:
    """The command in this process: only what it finds is looked at here."""
    return here


@pytest.fixture
def wheels(tmp_path: Path, aviary: Path, understudy: Any) -> Path:
    """The aviary as wheels leave it: with hashes in its RECORDs. One more says so when it is run."""
    home = tmp_path / "site"
    shutil.copytree(aviary, home, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "cli_loud.py").write_text("raise SystemExit('LOUD RAN')")
    info = home / "understudy_loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: understudy-loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[understudy.providers]\nloud = cli_loud\n")
    for folder in home.glob("*.dist-info"):
        module = f"cli_{folder.name.partition('-')[0].removeprefix('understudy_')}.py"
        record(folder, module, *(f"{folder.name}/{one.name}" for one in folder.iterdir()))
    understudy.environment["PYTHONPATH"] = str(home)
    return home


def record(info: Path, *names: str) -> None:
    rows = []
    for name in names:
        digest = hashlib.sha256((info.parent / name).read_bytes()).digest()
        rows.append(f"{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},\n")
    (info / "RECORD").write_text("".join([*rows, f"{info.name}/RECORD,,\n"]))


def results(done: Any) -> dict[str, tuple[str, str]]:
    """Return doctor's findings by what they are about; of several, the worst counts."""
    order = ("ok", "warning", "problem")
    checks = sorted(json.loads(done.stdout)["checks"], key=lambda one: order.index(one["result"]))
    return {one["about"]: (one["result"], one["what"]) for one in checks}


def test_no_command_runs_what_nobody_has_selected(understudy: Any, wheels: Path) -> None:
    shown = understudy.together(
        ("providers",), ("doctor",), ("ask", "hello"), ("lock", "--file", "x.lock"), ("providers", "--all")
    )
    assert ["LOUD RAN" in done.stdout + done.stderr for done in shown] == [False] * 4 + [True]
    row = next(line for line in shown[0].stdout.splitlines() if line.startswith("loud"))
    assert "not loaded" in row
    assert "`understudy providers --all` loads it" in row


def test_a_lock_lets_load_what_it_holds_and_says_what_has_changed(understudy: Any, wheels: Path) -> None:
    written = understudy("lock", "parrot", "greeter")
    assert written.returncode == 0, written.stderr
    assert "new: understudy-parrot 1.2" in written.stderr
    lock = (understudy.home / "understudy.lock").read_text()
    assert '[plugins.understudy-parrot]\nversion = "1.2"\nrecord = "sha256=' in lock
    again, good, answer, macaw, refused, listing = understudy.together(
        ("lock", "understudy-parrot", "greeter"),
        ("lock", "--check"),
        ("ask", "hello", "-p", "parrot"),
        ("lock", "macaw", "--file", "other.lock"),
        ("ask", "hello", "-p", "loud"),
        ("providers", "--json", "--all"),
        LLM_PRIMARY_PROVIDER="parrot",
        LLM_EXTENSIONS="greeter",
        **KEY,
    )
    assert "changed" not in again.stderr
    assert (understudy.home / "understudy.lock").read_text() == lock
    assert (good.returncode, "everything installed is what" in good.stderr) == (0, True)
    assert (answer.returncode, answer.stdout) == (0, "parrot heard: hello\n")
    assert "holds 1" in macaw.stderr  # parrot's distribution has macaw, too
    assert (refused.returncode, "LOUD" in refused.stderr) == (2, False)
    assert "found understudy-loud; if you trust it, write the lock again: `understudy lock`" in refused.stderr
    states = {one["name"]: one["state"] for one in json.loads(listing.stdout)["providers"]}
    assert (states["parrot"], states["loud"]) == ("available", "not trusted")

    module = wheels / "cli_parrot.py"
    module.write_text(module.read_text() + "raise SystemExit('IT RAN')\n")
    check, doctor, answer, off_route = understudy.together(
        ("lock", "--check"), ("doctor", "--json"), ("ask", "hello", "-p", "parrot"), ("lock", "--check"), **KEY
    )
    assert (check.returncode, answer.returncode) == (1, 2)
    for told in (check.stderr, answer.stderr, results(doctor)["lock"][1]):
        assert "changed: cli_parrot.py" in told
        assert "IT RAN" not in told
    assert "understudy-gemini is on the route, and not in" in off_route.stderr
    assert results(doctor)["lock"][0] == "problem"


def test_a_check_without_a_lock_says_which_command_writes_one(understudy: Any) -> None:
    here, elsewhere = understudy.together(("lock", "--check"), ("lock", "--check", "--file", "my locks/x.lock"))
    assert (here.returncode, here.stderr) == (
        2,
        "error: understudy.lock: there is no lock to compare with; `understudy lock` writes one\n",
    )
    assert elsewhere.returncode == 2
    assert "`understudy lock --file 'my locks/x.lock'` writes one" in elsewhere.stderr
    assert not (understudy.home / "understudy.lock").exists()


def test_a_lock_of_the_route_has_nobody_else_and_strange_names_are_refused(understudy: Any, wheels: Path) -> None:
    route = {"LLM_PRIMARY_PROVIDER": "loud:big", "LLM_FALLBACK_PROVIDERS": "ours", "LLM_EXTENSIONS": "greeter"}
    (understudy.home / "understudy.toml").write_text('[providers.ours]\nuses = "parrot"\n')
    done, nobody, both = understudy.together(
        ("lock", "--route"), ("lock", "nobody", "--file", "x"), ("lock", "loud", "--check"), **route
    )
    assert done.returncode == 0, done.stderr
    lock = (understudy.home / "understudy.lock").read_text()
    assert [line for line in lock.splitlines() if line.startswith("[") and "files" not in line] == [
        "[plugins.understudy-greeter]",
        "[plugins.understudy-loud]",
        "[plugins.understudy-parrot]",
    ]
    assert (nobody.returncode, "found 'nobody': there is no such name" in nobody.stderr) == (2, True)
    assert (both.returncode, "expected --check alone" in both.stderr) == (2, True)
    (understudy.home / "understudy.lock").write_text(lock.replace("sha256=", "sha256=0", 1))
    damaged, anew = understudy("lock", "--check", **route), understudy("lock", "--route", **route)
    assert (damaged.returncode, "write it again with `understudy lock`" in damaged.stderr) == (2, True)
    assert (anew.returncode, "what was locked before is not known" in anew.stderr) == (0, True)
    assert (understudy.home / "understudy.lock").read_text() == lock


def test_doctor_tells_of_code_that_runs_by_itself_doubles_and_versions(understudy: Any, wheels: Path) -> None:
    loud = wheels / "understudy_loud-1.0.dist-info"
    (wheels / "loud_init.pth").write_text("# ?\nimport os; os.environ.get('EVERY_KEY')\n")
    record(loud, "loud_init.pth", "cli_loud.py")
    (loud / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: understudy-loud\nVersion: 1.0\nRequires-Dist: pluggy>=99\n"
        'Requires-Dist: nowhere; python_version < "3"\nRequires-Dist: nowhere-else>=1\n'
        "Requires-Dist: packaging>=20\nRequires-Dist: understudy-cli[demo]; extra == 'demo'\n"
    )
    (loud / "entry_points.txt").write_text("[understudy.providers]\nloud = cli_loud\nparrot = cli_loud\n")
    second = understudy.home / "second" / "understudy_parrot-0.9.dist-info"
    second.mkdir(parents=True)
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: understudy-parrot\nVersion: 0.9\n")
    (second / "RECORD").write_text("old.py,,\n")
    path = f"{wheels}:{second.parent}"
    done = understudy("doctor", "--json", PYTHONPATH=path)
    found = results(done)
    assert found["start of Python"] == (
        "problem",
        "loud_init.pth of understudy-loud runs whenever Python starts, whether understudy-loud is used or not: "
        "import os; os.environ.get('EVERY_KEY')",
    )
    whats = [one["what"] for one in json.loads(done.stdout)["checks"]]
    assert any(what.startswith("understudy-loud needs pluggy>=99, and ") for what in whats)
    assert "understudy-loud needs nowhere-else>=1, which is not installed" in whats
    cures = {one["what"]: one["cure"] for one in json.loads(done.stdout)["checks"]}
    assert cures["understudy-loud needs nowhere-else>=1, which is not installed"] == 'pip install "nowhere-else>=1"'
    assert not any("nowhere," in what or "packaging" in what for what in whats)
    assert "the provider 'parrot' is claimed by understudy-loud and understudy-parrot" in whats
    assert any(what.startswith("understudy-parrot 1.2 counts, and hides version 0.9 in") for what in whats)
    assert found["trust"][1].startswith("neither LLM_TRUSTED_PLUGINS nor understudy.lock restricts it")


def test_the_list_of_trusted_plugins_is_shown_and_settles_whose_a_name_is(understudy: Any, wheels: Path) -> None:
    loud = wheels / "understudy_loud-1.0.dist-info"
    (loud / "entry_points.txt").write_text("[understudy.providers]\nloud = cli_loud\nparrot = cli_loud\n")
    trusted = {"LLM_TRUSTED_PLUGINS": "understudy-parrot==1.2", **KEY}
    doctor, answer, demo = understudy.together(
        ("doctor", "--json"), ("ask", "hello", "-p", "parrot"), ("demo", "--scene", "1"), **trusted
    )
    found = results(doctor)
    assert found["trust"] == (
        "ok",
        "LLM_TRUSTED_PLUGINS in the environment lets nothing load but understudy-parrot==1.2",
    )
    assert "expected a distribution that LLM_TRUSTED_PLUGINS" in found["primary"][1]
    assert answer.stdout == "parrot heard: hello\n"
    assert (demo.returncode, "add it there if you trust it" in demo.stderr) == (2, True)


TABLES = """
[providers.quick]
uses = "parrot"
model = "parrot-1"

[providers.office]
uses = "claude"
base_url = "https://claude.example.com"
api_key_env = "OFFICE_KEY"

[providers.typo]
uses = "parot"

[providers.crooked]
uses = "claude"
base_url = "claude.example.com"
api_key_env = ""
"""


def test_names_of_ones_own_are_listed_asked_and_looked_at_like_others(understudy: Any) -> None:
    (understudy.home / "understudy.toml").write_text(TABLES)
    route = {"LLM_PRIMARY_PROVIDER": "quick", "LLM_FALLBACK_PROVIDERS": "office,typo,crooked,ofice", **KEY}
    providers, doctor, status, answer = understudy.together(
        ("providers", "--json"), ("doctor", "--json"), ("status",), ("ask", "hello", "-p", "quick", "-f", "office"),
        **route,
    )  # fmt: skip
    rows = {one["name"]: one for one in json.loads(providers.stdout)["providers"]}
    assert (rows["quick"]["state"], rows["quick"]["model"]) == ("available", "parrot-1")
    assert rows["quick"]["origin"].startswith("parrot, [providers.quick] in ")
    assert (rows["office"]["state"], rows["office"]["reason"][:10]) == ("not available", "OFFICE_KEY")
    assert (rows["typo"]["state"], "did you mean 'parrot'?" in rows["typo"]["reason"]) == ("broken", True)
    assert rows["crooked"]["state"] == "misconfigured"
    found = results(doctor)
    assert found["primary"][:1] == ("ok",)
    assert "OFFICE_KEY is not set" in found["fallback 1"][1]
    assert "found 'parot'; did you mean 'parrot'?" in found["fallback 2"][1]
    assert "base_url in [providers.crooked] in" in found["fallback 3"][1]
    assert "did you mean 'office', [providers.office] in" in found["fallback 4"][1]
    assert found["understudy.toml"][1].endswith("is in force, and names quick, office, typo, crooked")
    assert found["model of quick"] == (
        "problem",
        "parrot-1 retires on 2020-01-01, or has retired: ask parrot-2 instead",
    )
    assert (status.returncode, "found 'parot'" in status.stderr) == (2, True)
    assert answer.stdout == "parrot heard: hello\n"


def test_a_table_that_is_not_understood_is_a_sentence_and_a_problem(understudy: Any) -> None:
    (understudy.home / "understudy.toml").write_text('[providers.quick]\nuse = "parrot"\n')
    doctor, providers = understudy.together(("doctor", "--json"), ("providers",))
    assert "found 'use'; did you mean 'uses'?" in results(doctor)["understudy.toml"][1]
    assert (providers.returncode, "did you mean 'uses'?" in providers.stderr) == (2, True)


def test_doctor_tells_of_files_that_others_can_write_and_of_folders_that_are_trusted(understudy: Any) -> None:
    file = understudy.write_env(PARROT_BASE_URL="https://stranger.example", HTTPS_PROXY="http://stranger.example:1")
    tables = understudy.home / "understudy.toml"
    tables.write_text('[providers.near]\nuses = "parrot"\nbase_url = "http://127.0.0.1:9"\napi_key_env = ""\n')
    own = understudy("doctor", "--json", **KEY)
    checks = json.loads(own.stdout)["checks"]
    told = {one["what"]: (one["about"], one["result"]) for one in checks}
    assert told[f"PARROT_BASE_URL in {file} says where prompts go"] == ("address", "warning")
    assert told[f"HTTPS_PROXY in {file}: nothing reads a proxy from a file"] == ("address", "warning")
    assert told[f"base_url in [providers.near] in {tables} says where prompts go"] == ("address", "ok")
    file.chmod(0o666)
    tables.chmod(0o622)
    asked, open_to_all, trusted = understudy.together(
        ("ask", "x", "-p", "parrot"), ("doctor", "--json"), ("lock",), **KEY
    )
    assert asked.stdout == "parrot heard: x\n"
    assert asked.stderr.count("is not read: expected a file that you alone can write, found one that everybody") == 2
    found = [one for one in json.loads(open_to_all.stdout)["checks"] if one["about"] in (".env", "understudy.toml")]
    assert [(one["about"], one["result"]) for one in found] == [(".env", "problem"), ("understudy.toml", "problem")]
    advice = f"or, if you trust whoever writes there, set LLM_TRUSTED_FOLDERS={understudy.home} in the environment"
    assert [one["cure"] for one in found] == [f"chmod o-w {file}, {advice}", f"chmod o-w {tables}, {advice}"]
    trusted = understudy("doctor", "--json", LLM_TRUSTED_FOLDERS=str(understudy.home), **KEY)
    assert results(trusted)["trusted folder"][0] == "warning"
    assert results(trusted)["address"][0] == "warning"
    assert "is in force" in results(trusted)[".env"][1]


def test_doctor_names_a_key_that_would_go_to_an_address_from_a_file(understudy: Any) -> None:
    understudy.write_env(ANTHROPIC_BASE_URL="https://stranger.example", LLM_PRIMARY_PROVIDER="claude")
    found = results(understudy("doctor", "--json", ANTHROPIC_API_KEY=SECRET))
    assert found["primary"][0] == "problem"
    said = "ANTHROPIC_API_KEY of the environment does not go to ANTHROPIC_BASE_URL of .env: set that in the environment"
    assert said in found["primary"][1]


def test_doctor_tells_of_code_at_the_start_of_python_that_no_package_has_brought(understudy: Any, wheels: Path) -> None:
    stray = wheels / "stray.pth"
    stray.write_text("import os; os.environ.get('EVERY_KEY')\n")
    found = results(understudy("doctor", "--json"))
    assert found["start of Python"] == (
        "warning",
        f"{stray} runs whenever Python starts, and no package claims it: import os; os.environ.get('EVERY_KEY')",
    )


def test_a_lock_that_others_can_write_is_a_problem_and_lets_nobody_load(understudy: Any, wheels: Path) -> None:
    understudy("lock", "parrot")
    lock = understudy.home / "understudy.lock"
    lock.chmod(0o666)
    asked, doctor, check = understudy.together(
        ("ask", "x", "-p", "parrot"), ("doctor", "--json"), ("lock", "--check"), **KEY
    )
    said = f"{lock} is not read: expected a file that you alone can write"
    assert (asked.returncode, said in asked.stderr) == (2, True)
    assert results(doctor)["lock"][0] == "problem"
    assert said in results(doctor)["lock"][1]
    assert (check.returncode, said in check.stderr) == (2, True)
