"""A real S3 server over HTTP (moto) behind a layer that spoils its answers."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class Faults:
    """What to do to requests from now on.

    Attributes
    ----------
    share
        Of the requests that are spoiled, in turn by 500, 503, bodies that end too soon and chunks with a wrong bit.
    outage
        Requests to come that are refused with 503, whatever the share.
    refusal
        Status, code and headers of the answer to every request, or to those of the ``refused`` methods.
    silent
        Whether requests are taken and never answered, until it is false again.
    seconds
        How long each answer takes at least.
    requests
        Method and path of what was asked, in order; clear it to begin anew.
    sent
        Bytes of the bodies of all answers; set it to 0 to begin anew.
    busiest
        Most requests that were under way at once.
    spoiled
        Requests spoiled so far, by kind.
    options
        Storage options that name the server: in this process fsspec remembers another test's by the environment.
    """

    options: dict[str, str]
    share: float = 0.0
    outage: int = 0
    refusal: tuple[int, str, dict[str, str]] | None = None
    refused: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    silent: bool = False
    seconds: float = 0.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    busiest: int = 0
    under_way: int = 0
    spoiled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("500", "503", "truncated", "corrupt"), 0))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    @contextlib.contextmanager
    def counted(self, method, path):
        with self._lock:
            self.requests.append((method, path))
            self.under_way += 1
            self.busiest = max(self.busiest, self.under_way)
        try:
            yield
        finally:
            with self._lock:
                self.under_way -= 1

    def promised(self, method, headers):
        with self._lock:
            self.sent += 0 if method == "HEAD" else int(dict(headers).get("Content-Length", 0))

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
        faults = self.faults
        with faults.counted(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            time.sleep(faults.seconds)
            while faults.silent:
                time.sleep(0.05)

            def start(status, headers, *rest):
                faults.promised(environ["REQUEST_METHOD"], headers)
                return start_response(status, headers, *rest)

            return self._answer(faults, environ, start)

    def _answer(self, faults, environ, start_response):
        method, kind = environ["REQUEST_METHOD"], faults.choose()
        refusal = faults.refusal if method in faults.refused else None
        if kind in ("500", "503"):
            refusal = (500, "InternalError", {}) if kind == "500" else (503, "SlowDown", {})
        if refusal is not None:
            status, code, headers = refusal
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Sorry.</Message></Error>".encode()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            lengths = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
            start_response(f"{status} {code}", [*lengths.items(), *headers.items()])
            return [] if method == "HEAD" else [body]
        answer = self._application(environ, start_response)
        if kind in ("truncated", "corrupt") and method == "GET":
            body = b"".join(answer)  # the length was promised in the header
            environ["werkzeug.socket"].settimeout(5)
            if kind == "truncated":
                return [body[: len(body) // 2]] if len(body) > 1 else [body]
            if "/c/" in environ["PATH_INFO"]:
                middle = len(body) // 2
                return [body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]]
            return [body]
        return answer


class _Handler(WSGIRequestHandler):
    """Closes every connection after its answer, so that a body that is too short ends there."""

    protocol_version = "HTTP/1.0"

    def log(self, *_):
        pass


def make_bucket(name):
    """Make an empty bucket at the server that the environment names.

    All servers of a process share what they hold, and a fixture of a module may be set up twice in one.
    """
    import boto3

    boto3.client("s3").create_bucket(Bucket=name)
    boto3.resource("s3").Bucket(name).objects.all().delete()


@contextlib.contextmanager
def serve(bucket, context=None):
    """Run a server with an empty bucket, named in the environment as users name theirs, and yield its faults.

    With an SSL context it speaks HTTPS and has no bucket.
    """
    layer = _Layer(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, layer, threaded=True, request_handler=_Handler, ssl_context=context)
    layer.faults = Faults({"endpoint_url": f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"})
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
        if context is None:
            make_bucket(bucket)
        yield layer.faults
    server.shutdown()
    thread.join()
