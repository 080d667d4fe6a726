"""What the web servers serve in the tests: each request asks a provider for its own words, and is told what came.

SERVED says in JSON which factories are made, how, and when: at import, which under --preload is before gunicorn forks,
or with the first request of a worker.
"""

import json
import os
import threading
from functools import cache
from urllib.parse import parse_qs

from understudy import Finish, LLMFactory, Policy

SERVED = json.loads(os.environ["SERVED"])
POLICIES = {"plain": Policy.patient(retry_delay=0.05), "timed": Policy.eager(deadline=60)}
_one_at_a_time = threading.Lock()


@cache
def _make(name):
    return LLMFactory(
        name, [], settings=SERVED["settings"], policy=POLICIES[SERVED["policy"]], extensions=[], health_store=None
    )


def factory_of(name):
    """Return a factory, made once in a process; threads that need it at once make one."""
    with _one_at_a_time:
        return _make(name)


if SERVED["when"] == "import":
    for each in SERVED["names"]:  # asked once, so that clients and connections exist before the fork
        assert factory_of(each).generate_content("before the fork", temperature=None).success


def _answer(response):
    text = response.content if response.success else response.error
    return json.dumps({"success": response.success, "text": text, "worker": os.getpid()}).encode()


def app(environ, start_response):
    """Serve a request of gunicorn's."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    factory = factory_of(asked["name"])
    if asked["how"] == "stream":
        *_, last = factory.stream_content(asked["words"], temperature=None)
        assert type(last) is Finish
        response = last.response
    else:
        response = factory.generate_content(asked["words"], temperature=None)
    body = _answer(response)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """Serve a request of uvicorn's."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                for name in SERVED["names"]:
                    await factory_of(name).aclose()
                return
    asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    factory = factory_of(asked["name"])
    if asked["how"] == "stream":
        events = [event async for event in factory.astream_content(asked["words"], temperature=None)]
        response = events[-1].response
    else:
        response = await factory.agenerate_content(asked["words"], temperature=None)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": _answer(response)})
