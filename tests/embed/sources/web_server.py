"""A web server on this machine whose paths fail in every way that servers do."""

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

LARGE = 3 * 2**20


class Server(ThreadingHTTPServer):
    """`requests` counts what was asked for, by path; `most_at_once` is for /delayed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.num_waiting = self.most_at_once = 0
        self.lock = Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        number = self.server.requests[self.path]
        behaviour = self.path.split("/")[1]
        method = getattr(self, f"_{behaviour}", None)
        if self.path in self.server.files:
            self._send(self.server.files[self.path])
        elif method is not None:
            method(number)
        else:
            self.send_error(404)

    def _send(
        self, data: bytes, status: int = 200, claimed: int | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if claimed is None else claimed))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _flaky(self, number: int) -> None:
        self._send(b"picture", status=500 if number <= 2 else 200)

    def _busy(self, number: int) -> None:
        self._send(b"picture", status=429 if number == 1 else 200, Retry_After="1")

    def _broken(self, number: int) -> None:
        self._send(b"", status=503)

    def _forbidden(self, number: int) -> None:
        self._send(b"", status=403)

    def _delayed(self, number: int) -> None:
        with self.server.lock:
            self.server.num_waiting += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.num_waiting)
        time.sleep(0.4)
        with self.server.lock:
            self.server.num_waiting -= 1
        self._send(self.path.partition("?")[0].encode())

    def _drip(self, number: int) -> None:
        self._send(b"", claimed=1000)
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:  # the reader has gone, as it should
            self.close_connection = True

    def _silent(self, number: int) -> None:
        time.sleep(3)
        self.close_connection = True

    def _large(self, number: int) -> None:
        try:
            self._send(b"x" * LARGE)
        except OSError:
            self.close_connection = True

    def _endless(self, number: int) -> None:
        """Claims no length."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(b"x" * 2**16)
        except OSError:
            self.close_connection = True

    def _reset(self, number: int) -> None:
        if number == 1:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        self._send(b"picture")

    def _short(self, number: int) -> None:
        self._send(b"pict", claimed=4 if number > 1 else 100)
        self.close_connection = True

    def _moved(self, number: int) -> None:
        self._send(b"", status=302, Location="/files/a.jpg")

    def _escape(self, number: int) -> None:
        self._send(b"", status=302, Location="file:///etc/passwd")

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # connections that tests break on purpose
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True
