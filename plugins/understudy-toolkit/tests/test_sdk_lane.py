"""The lane through a vendor's SDK: httpx's response as a Reply."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from understudy.concurrency.out_of_time import next_by
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import HttpxReply, seconds_left

ASK = Ask(path="/", seconds=60, stream=True)


@contextmanager
def silent_after_a_piece():
    """Serve streams that are silent after their first piece, and are cut after some seconds."""
    over, asked = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.client_address)
            whole = self.path == "/whole"
            self.send_response(200)
            self.send_header("content-length", "6" if whole else "600")
            self.end_headers()
            self.wfile.write(b"piece.")
            self.wfile.flush()
            if not whole:
                over.wait(10)
                self.close_connection = True

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def reply_of(client, url):
    response = client.send(client.build_request("GET", url), stream=True)
    return HttpxReply(response, ASK, time.monotonic() + ASK.seconds)


def test_a_wait_for_the_next_piece_ends_when_the_piece_is_late():
    """httpx would wait until the server gives up."""
    with silent_after_a_piece() as (url, asked), httpx.Client(timeout=None) as client:
        for path in ("/whole", "/silent"):
            reply = reply_of(client, url + path)
            pieces = reply.pieces()
            assert next(pieces) == b"piece."
            token = next_by.set(time.monotonic() + 0.05)
            try:
                if path == "/whole":
                    assert next(pieces, None) is None
                else:
                    with pytest.raises(httpx.ReadTimeout):
                        next(pieces)
            finally:
                next_by.reset(token)
                reply.close()
        assert asked[0] == asked[1]  # the connection was kept, and is timed anew for each request


def test_without_a_clock_a_wait_takes_what_the_client_was_given():
    assert (seconds_left(7.0), seconds_left(None)) == (7.0, None)
    token = next_by.set(time.monotonic() - 1.0)
    try:
        assert seconds_left(7.0) == seconds_left(None) == 0.001  # late already: it looks, and does not wait
    finally:
        next_by.reset(token)
