"""A server for http in a thread of the tests: it counts requests, and can be made to misbehave."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What a server has, how it behaves, and what it was asked.

    Attributes
    ----------
    files : dict of str to bytes
    requests : list of (path, range or None, bytes)
    most_at_once : int
        Requests that were answered at a time.
    ranges : bool
        Whether it knows of ranges.
    breaks : callable
        breaks(number of the request) tells whether the connection ends in the middle of the answer.
    status : dict of int to int
        The status of some requests, by their numbers.
    delay : float
        Seconds before an answer.
    tag : str or None
        The ``ETag`` of everything.
    odd : callable or None
        odd(number of the request, its range) gives status, headers and body of an answer, or None for the usual one.
    """

    def __init__(self):
        self.files, self.requests, self.ranges = {}, [], True
        self.breaks, self.status, self.tag, self.delay = (lambda number: False), {}, None, 0.0
        self.odd = None
        self.address, self.most_at_once, self.now, self.lock = "", 0, 0, threading.Lock()

    def url(self, name):
        return f"{self.address}/{name}"


@contextmanager
def serving():
    """Serve for a while."""
    server = Server()
    handler = type("Handler", (_Handler,), {"owner": server})
    http = _Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Say nothing of clients that leave."""


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        owner = self.owner
        with owner.lock:
            number = len(owner.requests)
            owner.requests.append((self.path, self.headers.get("Range"), 0))
            owner.now += 1
            owner.most_at_once = max(owner.most_at_once, owner.now)
        try:
            self.give(owner, number, body)
        finally:
            with owner.lock:
                owner.now -= 1

    def give(self, owner, number, body):
        time.sleep(owner.delay)
        name = self.path.partition("?")[0].lstrip("/")
        data, status = owner.files.get(name), owner.status.get(number)
        odd = None if owner.odd is None else owner.odd(number, self.headers.get("Range"))
        if odd is not None:
            self.send_response(odd[0])
            for key, value in odd[1].items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(odd[2])))
            self.end_headers()
            self.wfile.write(odd[2])
            return
        if status is not None or data is None:
            self.send_response(status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "") if owner.ranges else None
        if found and int(found[1]) >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if found:
            start, stop = int(found[1]), min(int(found[2]) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            data = data[start:stop]
        else:
            self.send_response(200)
        owner.requests[number] = (*owner.requests[number][:2], len(data))
        breaks = body and owner.breaks(number)
        self.send_header("Content-Length", str(len(data)))
        if owner.tag is not None:
            self.send_header("ETag", owner.tag)
        self.end_headers()
        if breaks:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif body:
            self.wfile.write(data)
