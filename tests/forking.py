"""What tests of forked processes share: a program that asks and forks, run beside the stand-ins."""

import json
import os
import subprocess
import sys

import pytest

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="expected POSIX, found no os.fork")

PROLOGUE = """
import asyncio, json, os, signal, sys, threading, traceback, warnings
from understudy import LLMFactory, Policy, TextDelta
from understudy.errors import Failure

warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads and forks
settings, policies = json.load(sys.stdin), {"plain": Policy.patient(max_retries=0), "timed": Policy.eager(deadline=60)}

def fork(check):
    '''Have a forked process check something, in 20 seconds.'''
    child, status = os.fork(), 1
    if not child:
        try:
            signal.alarm(20)
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with {status}, where {signal.SIGALRM.value} says that it hung"

def ask(factory, words):
    answer = factory.generate_content(words, temperature=None)
    assert answer.success and words in answer.content, (words, answer)

async def ask_on_a_loop(factory, words):
    answer = await factory.agenerate_content(words, temperature=None)
    assert answer.success and words in answer.content, (words, answer)
"""


def run(program, sandbox, name, lane, policy="plain"):
    settings = {**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}
    done = subprocess.run(
        [sys.executable, "-c", f"{PROLOGUE}\nname, policy = {name!r}, policies[{policy!r}]\n{program}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


EACH_FOR_ITSELF = """
with LLMFactory(name, [], settings=settings, policy=policy, extensions=[]) as factory:
    ask(factory, "before")
    ask(factory, "before")

    def child():
        say(factory, "in the child")
        fork(lambda: say(factory, "in the child's child"))
        say(factory, "in the child again")

    fork(child)
    fork(child)
    ask(factory, "after")
"""
SAY = {"sync": "say = ask", "async": "say = lambda *words: asyncio.run(ask_on_a_loop(*words))"}


def check_each_for_itself(sandbox, name, lane, policy="plain", calls="sync"):
    run(SAY[calls] + EACH_FOR_ITSELF, sandbox, name, lane, policy)
    assert sandbox[name].request_count == 9
    # one of the parent; of each child one, or one for each loop; and of each child's child
    assert sandbox[name].connection_count == (5 if calls == "sync" else 7)
