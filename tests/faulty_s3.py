"""A real S3 server over HTTP (moto) behind a layer that spoils its answers."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass, field

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_INTERNAL = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We met an error.</Message></Error>"


@dataclass
class Faults:
    """What to do to requests from now on.

    Attributes
    ----------
    share
        Of the requests that are spoiled, in turn by 500, 503 and bodies that end too soon.
    outage
        Requests to come that are refused with 503, whatever the share.
    spoiled
        Requests spoiled so far, by kind.
    options
        Storage options that name the server: in this process fsspec remembers another test's by the environment.
    """

    options: dict[str, str]
    share: float = 0.0
    outage: int = 0
    spoiled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("500", "503", "truncated"), 0))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def choose(self) -> str | None:
        with self._lock:
            if self.outage:
                self.outage -= 1
                kind = "503"
            elif self._random.random() < self.share:
                kind = self._random.choice(sorted(self.spoiled))
            else:
                return None
            self.spoiled[kind] += 1
            return kind


class _Layer:
    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        kind = self.faults.choose()
        if kind in ("500", "503"):
            body = _INTERNAL if kind == "500" else _SLOW_DOWN
            status = "500 Internal Server Error" if kind == "500" else "503 Slow Down"
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        answer = self._application(environ, start_response)
        if kind == "truncated" and environ["REQUEST_METHOD"] == "GET":
            body = b"".join(answer)  # the length was promised in the header
            environ["werkzeug.socket"].settimeout(5)
            return [body[: len(body) // 2]] if len(body) > 1 else [body]
        return answer


class _Handler(WSGIRequestHandler):
    """Closes every connection after its answer, so that a body that is too short ends there."""

    protocol_version = "HTTP/1.0"

    def log(self, *_):
        pass


@contextlib.contextmanager
def serve(bucket):
    """Run a server with an empty bucket, named in the environment as users name theirs, and yield its faults."""
    layer = _Layer(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, layer, threaded=True, request_handler=_Handler)
    layer.faults = Faults({"endpoint_url": f"http://127.0.0.1:{server.server_port}"})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": layer.faults.options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "key-of-the-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import boto3

        boto3.client("s3").create_bucket(Bucket=bucket)
        yield layer.faults
    server.shutdown()
    thread.join()
