"""A key shows nowhere: not in a repr, a message, a traceback, a copy or a pickle."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import string
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import ConfigurationError, Secret, Settings, masking
from understudy.errors import Timeout

KEY = "parrot-0123456789-abcdef"
VISIBLE = string.ascii_letters + string.digits + string.punctuation
# Without letters, so that no word of a message can be part of one by chance.
keys = st.text(string.digits + "$&*+-", min_size=12, max_size=60)
breaks = st.characters(exclude_characters=VISIBLE)
fast = settings(max_examples=200, deadline=None, database=None)


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    """Keep the keys made up here from being masked in other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "_secrets", set())
        yield


def shows(text: str, key: str) -> bool:
    """Whether a text has as much as eight characters of the key in a row."""
    return any(key[start : start + 8] in text for start in range(len(key) - 7))


def test_a_key_is_read_and_can_be_revealed(tmp_path: Path) -> None:
    for value in (KEY, f"  {KEY}\n", f"{KEY}\r\n"):
        secret = Settings(environment={"PARROT_API_KEY": value}, directory=tmp_path).secret("PARROT_API_KEY")
        assert secret is not None
        assert secret.reveal() == KEY
        assert secret == Secret(KEY)
        assert hash(secret) == hash(Secret(KEY))
        assert secret != KEY


def test_the_second_name_and_no_name_at_all(tmp_path: Path) -> None:
    found = Settings({"OTHER_KEY": KEY}, environment={"PARROT_API_KEY": ""}, directory=tmp_path)
    assert found.secret("PARROT_API_KEY", "OTHER_KEY") == Secret(KEY)
    assert found.secret("PARROT_API_KEY") is None
    assert found.secret("UNHEARD_OF") is None


@dataclass
class Client:
    key: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        "%s %r".__mod__,
        lambda secret: f"{secret} {secret!s:>30} {secret!r}",
        lambda secret: repr([secret, {"key": secret}]),
        lambda secret: repr(Client(secret)),
        lambda secret: " ".join(dir(secret)),
        lambda secret: repr(copy.copy(secret)),
        lambda secret: repr(copy.deepcopy(Client(secret))),
        lambda secret: pickle.dumps(secret).decode("latin-1"),
        lambda secret: copy.copy(secret).reveal() and "",
        json.dumps,
        "{:>40}".format,
        vars,
        int,
        len,
    ],
)
def test_a_secret_shows_nothing(show: Callable[[object], object]) -> None:
    secret = Secret(KEY)
    argument = (secret, secret) if getattr(show, "__name__", "") == "__mod__" else secret
    try:
        text = str(show(argument))
    except TypeError:  # refused, as pickling is: the message must not show it either
        text = traceback.format_exc()
    assert not shows(text, KEY)


def test_a_secret_is_not_pickled_and_the_message_says_why() -> None:
    with pytest.raises(TypeError, match="a Secret cannot be pickled: it would be written in clear"):
        pickle.dumps(Client(Secret(KEY)))


def test_a_secret_in_a_log_line_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("parrot").info("asking with %s (%r)", Secret(KEY), Settings({"KEY": KEY}, environment={}))
    assert "asking with Secret(***) (Settings(" in caplog.text
    assert not shows(caplog.text, KEY)


BAD = {
    " ": "a space",
    "\n": "a line break",
    "\r": "a carriage return",
    "\t": "a tab",
    "\x00": "the character U+0000",
    "é": "the character U+00E9",
    "\u200b": "the character U+200B",
    "…": "the character U+2026",
    "\udc80": "the character U+DC80",
}
CASES = [(bad, origin) for bad in BAD for origin in ("the arguments", "the environment")]
CASES += [(bad, "file") for bad in BAD if bad not in "\x00\udc80"]  # which a file cannot hold


@pytest.mark.parametrize(("bad", "origin"), CASES)
def test_a_key_of_other_characters_is_refused_by_name_and_place(bad: str, origin: str, tmp_path: Path) -> None:
    value = {"PARROT_API_KEY": f"{KEY}{bad}{KEY}"}
    if origin == "file":
        escaped = value["PARROT_API_KEY"].replace("\n", r"\n").replace("\r", r"\r")
        (tmp_path / ".env").write_text(f'PARROT_API_KEY="{escaped}"', "utf-8")
        found = Settings(environment={}, directory=tmp_path)
    elif origin == "the arguments":
        found = Settings(value, environment={}, directory=tmp_path)
    else:
        found = Settings(environment=value, directory=tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        found.secret("PARROT_API_KEY")
    place = origin.replace("file", str(tmp_path / ".env"))
    assert str(caught.value) == (
        f"PARROT_API_KEY in {place}: expected a key of printable ASCII characters without spaces, "
        f"found {BAD[bad]} inside it; copy the key again"
    )


def test_a_key_that_was_refused_is_masked_all_the_same() -> None:
    key = "a-key-with a-space"
    with pytest.raises(ConfigurationError):
        Settings({"PARROT_API_KEY": key}, environment={}).secret("PARROT_API_KEY")
    assert str(Timeout(f"sent {key}")) == "timeout: sent ***"


@fast
@given(first=keys, bad=breaks, second=keys)
def test_no_message_about_a_key_shows_any_of_it(first: str, bad: str, second: str) -> None:
    found = Settings({"PARROT_API_KEY": first + bad + second}, environment={}, directory="/")
    with pytest.raises(ConfigurationError) as caught:
        found.secret("PARROT_API_KEY")
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(found)
    assert not shows(text, first)
    assert not shows(text, second)


@fast
@given(key=keys, form=st.sampled_from(["{}", "//{}", "https://u:{} @host", "ftp://{}@host", "https://host:1/?{}"]))
def test_no_message_about_a_url_shows_any_of_it(key: str, form: str) -> None:
    found = Settings({"PARROT_BASE_URL": form.format(key)}, environment={}, directory="/")
    with pytest.raises(ConfigurationError) as caught:
        found.url("PARROT_BASE_URL")
    assert not shows("".join(traceback.format_exception(caught.value)) + repr(caught.value), key)


@fast
@given(key=keys, around=st.text(max_size=20))
def test_a_key_that_was_read_is_masked_in_every_failure(key: str, around: str) -> None:
    secret = Settings({"PARROT_API_KEY": key}, environment={}, directory="/").secret("PARROT_API_KEY")
    assert secret is not None
    failure = Timeout(f"{around}{secret.reveal()}{around}")
    assert secret.reveal() not in str(failure)
    assert secret.reveal() not in repr(failure)


@pytest.mark.parametrize("user", ["me:word-{}@", "word-{}@", "word-{}:@"])
def test_a_password_in_a_url_is_masked_in_every_failure(user: str) -> None:
    user = user.format(len(user))  # one that no other case has made known
    url = Settings({"PARROT_BASE_URL": f"https://{user}host/v1"}, environment={}).url("PARROT_BASE_URL")
    assert url == f"https://{user}host/v1"
    text = str(Timeout(f"no answer from {url}"))
    assert "word-" not in text
    assert "host/v1" in text
