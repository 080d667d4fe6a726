"""`understudy ask`: the answer on standard output, all else on standard error, and the exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

from understudy_sandbox import Sandbox, faults

SECRET = "parrot-secret-0123456789"  # the fixture sees to it that no output ever shows it
KEY = {"PARROT_API_KEY": SECRET, "MACAW_API_KEY": SECRET}


def test_the_argument_is_asked_and_the_answer_is_all_that_standard_output_shows(understudy: Any) -> None:
    done = understudy("ask", "hello", "-p", "parrot", **KEY)
    assert (done.stdout, done.stderr, done.returncode) == ("parrot heard: hello\n", "", 0)


def test_standard_input_is_asked_after_the_argument_and_nothing_needless_is_imported(understudy: Any) -> None:
    tell = {"PYTHONPROFILEIMPORTTIME": "1"}
    done = understudy("ask", "Sum up:", "-p", "parrot", "--no-stream", stdin="a text\n", **KEY, **tell)
    assert done.stdout == "parrot heard: Sum up:\n\na text\n"
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "understudy" in imported
    assert not imported & {"rich", "understudy_claude", "understudy_gemini", "understudy_sandbox"}


def test_json_is_one_object_with_the_whole_story(understudy: Any) -> None:
    done = understudy("ask", "--json", stdin="hello\n", LLM_PRIMARY_PROVIDER="parrot:parrot-9", **KEY)
    answer = json.loads(done.stdout)
    attempts = answer.pop("attempts")
    assert answer == {
        "success": True,
        "content": "parrot heard: hello",
        "provider": "parrot",
        "model": "parrot-9",
        "finish_reason": "stop",
        "usage": {
            "input_tokens": 2,
            "output_tokens": 3,
            "thinking_tokens": 0,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
        },
        "warnings": [],
        "request_id": "squawk-1",
        "cost": None,
        "error": None,
    }
    assert [(one["target"], one["outcome"], one["reason"]) for one in attempts] == [
        ("parrot:parrot-9", "succeeded", "primary")
    ]


def test_a_fallback_takes_the_part_and_the_attempts_tell_why(here: Any) -> None:
    done = here(
        *("ask", "hello", "-p", "parrot", "-f", "parrot,macaw", "--attempts", "--temperature", "1"),
        PARROT_MOOD="limited",
        **KEY,
    )
    assert (done.stdout, done.returncode) == ("macaw heard: hello\n", 0)
    lines = [re.sub(r"\b\d\.\d\d\b", "#.##", " ".join(line.split())) for line in done.stderr.splitlines()]
    assert lines == [
        "warning: parrot quota exceeded, switching to macaw",
        "warning: temperature was dropped",
        "asked outcome seconds waited why",
        "parrot quota exceeded (429) #.## - primary",
        "macaw answered #.## - after parrot: quota exceeded",
    ]


def test_when_nobody_answers_each_failure_is_named_with_its_cure(here: Any) -> None:
    route = ("-p", "parrot", "-f", "parrot:other", "--max-retries", "0")
    done = here("ask", "hello", *route, PARROT_MOOD="unknown", **KEY)
    assert (done.stdout, done.returncode) == ("", 1)
    assert "All LLM providers failed" not in done.stderr  # it would say less, and twice
    assert done.stderr.splitlines()[1:] == [
        "error: nobody could answer",
        "  parrot: model not found (404): no such model",
        "    name a model that the vendor has: --model MODEL, or in a route parrot:MODEL",
        "  parrot:other: model not found (404): no such model",
        "    name a model that the vendor has: --model MODEL, or in a route parrot:MODEL",
    ]
    missing = here("ask", "hello", "--json", "-p", "parrot")
    answer = json.loads(missing.stdout)
    assert (answer["success"], missing.returncode) == (False, 1)
    assert "PARROT_API_KEY is not set" in answer["error"]
    assert "PARROT_API_KEY is not set" in missing.stderr


def test_a_key_in_a_vendors_words_is_masked(here: Any) -> None:
    done = here("ask", "hello", "-p", "parrot", "--json", PARROT_MOOD="refused", **KEY)
    assert "bad key ***" in done.stderr
    assert json.loads(done.stdout)["attempts"][0]["failure"] == "AuthenticationFailed"


def test_with_nothing_set_up_it_names_the_variables_and_the_demo(here: Any) -> None:
    done = here("ask", "hello")
    assert (done.stdout, done.returncode) == ("", 2)
    for expected in ("Also installed: macaw, parrot, raven.", "GOOGLE_API_KEY is not set", "LLM_PRIMARY_PROVIDER="):
        assert expected in done.stderr
    assert "understudy demo, or understudy ask --provider echo" in done.stderr
    ready = here("ask", "hello", ANTHROPIC_API_KEY=SECRET)  # the default provider has no key, another one has
    assert "understudy ask --provider claude" in ready.stderr


def test_what_is_wrong_with_the_command_line_is_a_sentence_and_code_2(here: Any) -> None:
    said: dict[tuple[str, ...], str] = {
        ("ask",): "expected something to ask",
        ("ask", "hello", "-p", "parot"): "did you mean 'parrot'?",
        ("ask", "hello", "-p", "macaw", "--temperature", "3"): "expected temperature as 0 to 2, found 3",
    }
    for expected, done in zip(said.values(), here.together(*said, **KEY), strict=True):
        assert expected in done.stderr
        assert (done.stdout, done.returncode) == ("", 2)


def test_bytes_that_are_no_text_and_a_full_disk_are_sentences(understudy: Any) -> None:
    command = [understudy.python, "-m", "understudy_cli", "ask", "-p", "parrot"]
    surroundings = {"env": understudy.environment | KEY, "cwd": understudy.home, "stderr": subprocess.PIPE}
    no_text = subprocess.run(command, input=b"\xff\xfe", **surroundings, check=False)
    assert (no_text.stderr, no_text.returncode) == (
        b"error: expected the prompt as text in UTF-8, found other bytes\n",
        2,
    )
    with open("/dev/full", "wb") as full:
        no_room = subprocess.run(
            [*command, "hello"], stdin=subprocess.DEVNULL, stdout=full, **surroundings, check=False
        )
    assert (no_room.stderr, no_room.returncode) == (b"error: [Errno 28] No space left on device\n", 1)


def test_pieces_come_as_they_come_and_a_closed_pipe_ends_it_in_silence(understudy: Any) -> None:
    process = understudy.start("ask", "hello", "-p", "parrot", PARROT_MOOD="endless", **KEY)
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    assert process.stdout.readline() == "squawk\n"  # though the stream never ends
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait(understudy.patience) == 1
    process.stderr.close()


def test_an_interrupt_ends_it_with_130_and_no_traceback(understudy: Any) -> None:
    process = understudy.start("ask", "hello", "-p", "parrot", PARROT_MOOD="endless", **KEY)
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    process.stdin = None
    assert process.stdout.readline() == "squawk\n"
    process.send_signal(signal.SIGINT)
    done = understudy.finish(process, None)
    assert (done.stderr.strip(), done.returncode) == ("", 130)


def test_a_stream_that_breaks_off_keeps_what_came_and_fails(here: Any) -> None:
    done = here("ask", "hello", "-p", "parrot", "-f", "macaw", PARROT_MOOD="breaking", **KEY)
    assert (done.stdout, done.returncode) == ("half an\n", 1)
    assert "there is no whole answer" in done.stderr
    assert "--no-stream" in done.stderr


def test_a_terminal_gets_colours_unless_told_otherwise_and_no_escape_codes_of_a_model(understudy: Any) -> None:
    asked = ("ask", "hello", "-p", "parrot", "-f", "macaw", "--temperature", "1")
    coloured = understudy.on_terminal(*asked, PARROT_MOOD="limited", **KEY)
    assert "\x1b[33mwarning: \x1b[0m" in coloured
    plain = understudy.on_terminal(*asked, PARROT_MOOD="escaping", NO_COLOR="1", **KEY)
    assert plain == "a[31mb\r\nwarning: temperature was dropped\r\n"


def test_the_real_plugins_over_sockets(here: Any, sandbox: Sandbox) -> None:
    sandbox.gemini.always(faults.rate_limited(retry_after=30))
    route: dict[str, Any] = {"LLM_PRIMARY_PROVIDER": "gemini", "LLM_FALLBACK_PROVIDERS": "claude"}
    done = here("ask", "Why is the sky blue?", **route, **sandbox.environment())
    assert done.stdout.startswith("This is the Understudy sandbox standing in for Claude, not a real model.")
    assert done.stderr == "warning: gemini quota exceeded, switching to claude\n"
    assert (sandbox.gemini.request_count, sandbox.claude.request_count) == (1, 1)
