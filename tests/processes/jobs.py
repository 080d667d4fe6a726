"""What the processes of a pool do: importable, because that is how they find it."""

import os

from understudy import LLMFactory

_factory = None


def make_factory(name, settings, policy):
    """Begin a worker of a pool: it has a factory of its own."""
    global _factory
    _factory = LLMFactory(name, [], settings=settings, policy=policy, extensions=[])


def ask(words):
    """Ask the worker's factory."""
    return os.getpid(), _factory.generate_content(words, temperature=None)


def stream(words):
    """Return all events of a stream."""
    return os.getpid(), list(_factory.stream_content(words, temperature=None))


def fail(words, whose):
    """Raise why there is no answer: the failure of the call, or that of its attempt."""
    response = _factory.generate_content(words, temperature=None)
    raise response.failure if whose == "call" else response.attempts[0].failure


def give_back(value):
    """Return what came."""
    return value


def give_to(queue, value):
    """Put what came into a queue."""
    queue.put(value)
