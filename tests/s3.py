"""A real S3 server on loopback (moto), and a proxy before it that breaks requests."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3Server:
    """Where a server listens, e.g. http://127.0.0.1:5000."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which S3's clients find this server, and none of the user's settings."""
        nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
        return {
            **CREDENTIALS,
            **nowhere,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """A plain request, past all of S3's libraries: (status, body)."""
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=30)
        # moto takes any signature, but wants to see one.
        authorization = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"
        connection.request(method, path, body=body, headers={"Authorization": authorization})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def make_bucket(self, name: str) -> None:
        status, content = self.request("PUT", f"/{name}")
        assert status == 200, content


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """moto's S3 on a free port, stopped at the end.

    Its application for S3 alone: moto's own server asks at each request which of 200 services is meant, which
    takes as long as the answer. Requests are not logged.
    """
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):  # type: ignore[misc]
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing."""

    server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Exchange:
    """One request at the proxy. A fault answers it with these, or not at all."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: str, body: bytes) -> None:
        self.method = handler.command
        self.path = handler.path
        self.body = body
        self.headers = handler.headers
        self._handler = handler
        self._server = server

    def ask(self, body: bytes | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer; to a `body` of other bytes if given, with no checksum that would betray it."""
        headers = dict(self._handler.headers.items())
        if body is not None:
            headers = {name: value for name, value in headers.items() if "checksum" not in name.lower()}
            headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(self._server, timeout=30)
        sent = self.body if body is None else body
        connection.request(self.method, self.path, body=sent or None, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, length: int | None = None
    ) -> None:
        """Send an answer; `length`: the Content-Length that it claims."""
        given = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        if length is None:
            length = given if self.method == "HEAD" else len(content)
        self._handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(length))
        self._handler.end_headers()
        if self.method != "HEAD":
            self._handler.wfile.write(content)

    def fail(self, status: int, code: str) -> None:
        """Send S3's answer of an error."""
        text = f"<Error><Code>{code}</Code><Message>injected {code}</Message></Error>"
        self.answer(status, [("Content-Type", "application/xml")], text.encode())

    def reset(self) -> None:
        """Drop the connection as a crashed server does: with a reset."""
        connection = self._handler.connection
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.close_connection = True
        connection.shutdown(socket.SHUT_RDWR)

    def pass_on(self) -> None:
        """Do as if the proxy were not there."""
        self.answer(*self.ask())


@dataclass
class Proxy:
    """Passes requests on but for those that `fault` takes (it returns True). `seen`: method, path of all."""

    endpoint: str = ""
    fault: Callable[[Exchange], bool] = lambda exchange: False
    seen: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def breaks(self, times: int, method: str, what: Callable[[Exchange], object], path: str = "") -> None:
        """Break the next so many requests of a method whose path has `path` in it."""
        left = iter(range(times))
        lock = threading.Lock()

        def fault(exchange: Exchange) -> bool:
            if exchange.method != method or path not in exchange.path:
                return False
            with lock:
                if next(left, None) is None:
                    return False
            what(exchange)
            return True

        self.fault = fault

    def never_answer(self, exchange: Exchange) -> None:
        """Hold the request until the proxy stops."""
        self.over.wait(60)
        exchange.reset()


class _Handler(BaseHTTPRequestHandler):
    """A request at the proxy: read whole, then broken or passed on."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy
    server_address: str

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        exchange = Exchange(self, self.server_address, body)
        self.proxy.seen.append((self.command, self.path))
        try:
            if not self.proxy.fault(exchange):
                exchange.pass_on()
        except OSError:  # the client has gone
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815 (http.server's names)

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *arguments: object) -> None:
        """Clients that give up are what these tests are about."""


@contextmanager
def running_proxy(server: S3Server) -> Iterator[Proxy]:
    """A proxy before a server on a free port, stopped at the end."""
    proxy = Proxy()
    handler = type(
        "Handler", (_Handler,), {"proxy": proxy, "server_address": urlsplit(server.endpoint).netloc}
    )
    listening = _Server(("127.0.0.1", 0), handler)
    proxy.endpoint = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
