"""Where settings come from, in which order, and what is said of those that will not do."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from understudy import ConfigurationError, Settings
from understudy.files.reading import find_file


def settings(tmp_path: Path, text: str = "", environment: dict[str, str] | None = None, **arguments: str) -> Settings:
    (tmp_path / ".env").write_bytes(text.encode())
    return Settings(arguments, environment=environment or {}, directory=tmp_path)


# ---- Which value counts --------------------------------------------------------------------------------------------


def test_arguments_stand_above_the_environment_above_the_file_above_the_default(tmp_path: Path) -> None:
    file = "A=file\nB=file\nC=file\n"
    found = settings(tmp_path, file, {"A": "environment", "B": "environment"}, A="arguments")
    assert [found.get(name, default="default") for name in "ABCD"] == ["arguments", "environment", "file", "default"]
    assert found.find("A") == ("arguments", "A", "the arguments")
    assert found.find("B") == ("environment", "B", "the environment")
    assert found.find("C") == ("file", "C", str(tmp_path / ".env"))
    assert found.find("D") is None
    assert found.get("D") is None


def test_the_first_name_is_looked_for_everywhere_before_the_second(tmp_path: Path) -> None:
    found = settings(tmp_path, "GEMINI_API_KEY=file", {"GOOGLE_API_KEY": "environment"})
    assert found.find("GEMINI_API_KEY", "GOOGLE_API_KEY") == ("file", "GEMINI_API_KEY", str(tmp_path / ".env"))
    assert found.get("OTHER", "GOOGLE_API_KEY") == "environment"


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_value_hides_those_below_it_and_is_none_itself(empty: str, tmp_path: Path) -> None:
    found = settings(tmp_path, "A=file\nB=file", {"A": empty})
    assert found.get("A") is None
    assert found.get("A", default="default") == "default"
    assert found.get("A", "B") == "file"
    assert found.secret("A") is None
    assert found.names("A") == ()


def test_values_are_stripped(tmp_path: Path) -> None:
    assert settings(tmp_path, "", {"A": "  value\n"}).get("A") == "value"


def test_names_are_read_with_commas_between(tmp_path: Path) -> None:
    found = settings(tmp_path, "A= claude, ,openai:gpt ,,\nB=one")
    assert found.names("A") == ("claude", "openai:gpt")
    assert found.names("B") == ("one",)
    assert found.names("C") == ()


def test_the_environment_is_read_and_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("FROM_FILE=file\nPATH=elsewhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FROM_ENVIRONMENT", "environment")
    before = dict(os.environ)
    found = Settings({"FROM_ARGUMENTS": "arguments"})
    assert found.get("FROM_FILE") == "file"
    assert found.get("FROM_ENVIRONMENT") == "environment"
    assert found.get("PATH") == before["PATH"]
    assert dict(os.environ) == before


def test_what_is_no_text_is_refused() -> None:
    for value in (None, 5, b"key"):
        with pytest.raises(ConfigurationError, match=r"^PARROT_API_KEY in the arguments: expected a string, found"):
            Settings({"PARROT_API_KEY": value}, environment={})  # type: ignore[dict-item]  # what is wrong is the point


# ---- Which file is read --------------------------------------------------------------------------------------------


def test_the_nearest_file_upwards_is_read_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    (tmp_path / ".env").write_text("A=outer\nB=outer\n")
    assert Settings(environment={}, directory=str(inner)).get("A") == "outer"
    (tmp_path / "project" / ".env").write_text("A=inner\n")
    monkeypatch.chdir(inner)
    found = Settings(environment={})
    assert found.env_file == tmp_path / "project" / ".env"
    assert (found.get("A"), found.get("B")) == ("inner", None)


def test_what_is_not_a_file_is_passed_over(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "src"
    (inner / ".env").mkdir(parents=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "project" / ".env")  # reading it would wait for ever
    (tmp_path / ".env").write_text("A=outer\n")
    assert find_file(".env", inner) == tmp_path / ".env"
    assert Settings(environment={}, directory=inner).get("A") == "outer"


@pytest.mark.skipif(sys.platform == "win32", reason="a directory in use cannot be removed there")
def test_a_working_directory_that_is_gone_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = Settings(environment={"A": "environment"})
    assert (found.env_file, found.get("A")) == (None, "environment")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=secret-value")
    file.chmod(0)
    if os.access(file, os.R_OK):  # the superuser may read everything; this file gives an input/output error
        if not Path("/proc/self/mem").is_file():
            pytest.skip("every file can be read here")
        file.unlink()
        file.symlink_to("/proc/self/mem")
    with pytest.raises(ConfigurationError) as caught:
        Settings(environment={}, directory=tmp_path)
    assert str(caught.value).startswith(f"{file}: expected a file that can be read, found: ")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_named_and_not_shown(encoding: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("PARROT_API_KEY=sésame-ouvre-toi".encode(encoding))
    with pytest.raises(ConfigurationError) as caught:
        Settings(environment={}, directory=tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / '.env'}: expected text in UTF-8, found another encoding at byte ")
    assert "same" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # such an error holds all that was read


FILES = {
    "plain": ("A=value", "value"),
    "export": ("export A=value", "value"),
    "blanks": ("  A = value  ", "value"),
    "single quotes": ("A='va # lue'", "va # lue"),
    "double quotes": ('A="va # lue"', "va # lue"),
    "quoted blanks are stripped all the same": ("A=' value '", "value"),
    "escaped line break": (r'A="va\nlue"', "va\nlue"),
    "comment line": ("# A=other\nA=value", "value"),
    "comment behind": ("A=value # why", "value"),
    "hash inside": ("A=va#lue", "va#lue"),
    "equals inside": ("A=va=lue==", "va=lue=="),
    "dollar": ("B=x\nA=va${B}$B", "va${B}$B"),
    "last one counts": ("A=other\nA=value", "value"),
    "CRLF": ("B=x\r\nA=value\r\nC=x\r\n", "value"),
    "quoted over two lines with CRLF": ('A="va\r\nlue"\r\n', "va\nlue"),
    "byte order mark": ("\ufeffA=value\nB=x", "value"),
    "empty": ("A=", None),
    "name alone": ("A", None),
    "letters outside ASCII": ("A=naïve", "naïve"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_is_read_as_python_dotenv_does(case: str, tmp_path: Path) -> None:
    text, value = FILES[case]
    assert settings(tmp_path, text).get("A") == value


def test_lines_that_cannot_be_read_are_logged_once_by_file_and_number_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "A=value\nKEY=\"unfinished-secret\nB=value\n\n  \nKEY2 unfinished-secret\nC='two\nlines'\n"
    with caplog.at_level(logging.WARNING):
        found, again = settings(tmp_path, text), settings(tmp_path, text)
    assert [found.get(name) for name in ("A", "KEY", "B", "KEY2", "C")] == ["value", None, "value", None, "two\nlines"]
    assert found.env_faults == again.env_faults == (2, 6)
    (record,) = caplog.records
    expected = "expected NAME=value, found something else, which is skipped"
    assert record.getMessage() == f"{tmp_path / '.env'}, lines 2, 6: {expected}"
    assert record.name == "understudy"
    with caplog.at_level(logging.WARNING):
        assert settings(tmp_path, "A=value\nB C\n").env_faults == (2,)  # the file was changed: that is news
    assert caplog.records[-1].getMessage() == f"{tmp_path / '.env'}, line 2: {expected}"


def test_a_file_without_faults_has_none_and_so_has_no_file(tmp_path: Path) -> None:
    assert settings(tmp_path, "# a comment\n\nA=value\nB\n").env_faults == ()
    (tmp_path / ".env").unlink()
    assert Settings(environment={}, directory=tmp_path).env_faults == ()


# ---- What is said --------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    found = settings(tmp_path, "B=", {"C": " "})
    file = tmp_path / ".env"
    assert found.missing("A") == f"A is not set: expected it in the environment or {file}"
    assert found.missing("A", "D") == f"A is not set: expected it in the environment or {file} (or D)"
    assert found.missing("B") == f"B is empty in {file}: expected a value"
    assert found.missing("A", "C") == "C is empty in the environment: expected a value"


def test_what_is_missing_where_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # above tmp_path there may be one
    found = Settings(environment={}, directory=tmp_path)
    assert found.missing("A") == "A is not set: expected it in the environment or a .env file"
    assert repr(found) == "Settings(env_file=None)"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://host", "https://host"),
        ("https://host/", "https://host"),
        ("https://host/v1//", "https://host/v1"),
        (" http://127.0.0.1:8080 \n", "http://127.0.0.1:8080"),
        ("HTTP://[::1]:8080/v1", "HTTP://[::1]:8080/v1"),
        ("https://user:word@host/v1", "https://user:word@host/v1"),
    ],
)
def test_a_url_is_returned_without_its_last_slash(value: str, url: str, tmp_path: Path) -> None:
    assert settings(tmp_path, "", {"PARROT_BASE_URL": value}).url("PARROT_BASE_URL") == url


def test_a_url_that_is_not_set_is_the_default_as_it_is(tmp_path: Path) -> None:
    found = settings(tmp_path, "B=https://second")
    assert found.url("A", default="https://host/") == "https://host/"
    assert found.url("A") is None
    assert found.url("A", "B") == "https://second"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "nothing"),
        ("   ", "nothing"),
        ("api.host.com/v1", "one that does not begin with http:// or https://"),
        ("host:8080", "one that does not begin with http:// or https://"),
        ("ftp://host", "one that does not begin with http:// or https://"),
        ("https:/host", "one that does not begin with http:// or https://"),
        ("https://", "one without a host, or with port 0"),
        ("https:///v1", "one without a host, or with port 0"),
        ("https://:8080", "one without a host, or with port 0"),
        ("https://host:0", "one without a host, or with port 0"),
        ("https://host:port", "one whose host or port cannot be read"),
        ("https://host:99999", "one whose host or port cannot be read"),
        ("https://[::1", "one whose host or port cannot be read"),
        ("https://my host", "a space inside it"),
        ("https://ho\nst", "a line break inside it"),
        ("https://hôst", "the character U+00F4 inside it"),
        ("https://host/v1?key=secret", "one with a query or fragment, after which no path can be added"),
        ("https://host/#top", "one with a query or fragment, after which no path can be added"),
    ],
)
def test_a_malformed_url_is_named_by_its_fault(value: str, fault: str, tmp_path: Path) -> None:
    found = settings(tmp_path, "PARROT_BASE_URL=https://file", {"PARROT_BASE_URL": value})
    with pytest.raises(ConfigurationError) as caught:
        found.url("PARROT_BASE_URL", default="https://default")
    assert str(caught.value) == (
        "PARROT_BASE_URL in the environment: expected a URL such as https://host or http://127.0.0.1:8080, "
        f"found {fault}; correct it or remove the variable"
    )
