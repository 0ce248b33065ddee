"""Hostile requests against a real service: each is refused in one sentence that tells nothing, and it goes on."""

import contextlib
import io
import json
import re
import socket
import struct
import zlib
from urllib.parse import urlsplit

import commands
import numpy as np
import pytest
from PIL import Image
from services import serving, token_file

import mrdist

TOKEN = "the-token-of-the-hostile-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
SECONDS = 20
BOUNDARY = "between-the-parts"
PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
PLAN = {"options": PAIR}
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that wants a token, with a dataset, a model, and secrets beside its catalogue."""
    folder = tmp_path_factory.mktemp("hostile")
    catalog = folder / "catalog"
    for secret in (folder / "secret.zarr", catalog / "sources" / "people"):
        secret.mkdir(parents=True)
        (secret / "zarr.json").write_text('{"a": "secret of this machine"}')
    (catalog / "sources" / "out").symlink_to(folder)
    faces, model = str(catalog / "datasets/faces.zarr"), str(catalog / "models/smile.zarr")
    commands.succeed("generate", faces, "--images", 6, "--size", 32, "--labels", "neutral,happy", "--workers", 0)
    mrdist.train(faces, model, source="neutral", target="happy", receptive_field=3, workers=0)
    with serving(catalog, folder / "log", "--token-file", token_file(folder, TOKEN), "--max-requests", 1e6) as found:
        found.folder = folder
        yield found
    log = (folder / "log").read_text()
    assert "Traceback" not in log, log
    assert TOKEN not in log


def send(service, data):
    """Send bytes as they are; return status, headers and content of the answer."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has refused before it has read all
            connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                answer += piece
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), answer
    lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, content


def request(method, path, headers=None, body=b"", *, known=True, host="127.0.0.1"):
    """Return the bytes of a request; of a client with the token unless it is not ``known``."""
    lines = [f"{method} {path} HTTP/1.1"]
    fields = {"host": host, "connection": "close", **(BEARER if known else {}), **(headers or {})}
    if body:
        fields.setdefault("content-length", str(len(body)))
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(path, headers=None, **how):
    return request("GET", path, headers, **how)


def post(path, body, headers=None, kind="application/json", **how):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", f"/api/v1{path}", {"content-type": kind, **(headers or {})}, content, **how)


def job(verb="train", name="hostile", **options):
    return post("/jobs", {"verb": verb, "name": name, "options": options})


def ingest(source):
    return post("/datasets", {"name": "hostile", "ingest": {"source": source}})


def generate(**options):
    return post("/datasets", {"name": "hostile", "generate": options})


def train(**options):
    return job(**{**PAIR, **options})


def synthesis(photograph, filename="face.png", **fields):
    parts = [f'content-disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    if "model" not in fields:
        parts.append('content-disposition: form-data; name="model"\r\n\r\nsmile')
    body = "".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts).encode()
    body += f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="photograph"; filename="{filename}"\r\n\r\n'.encode()
    return post("/synthesis", body + photograph + f"\r\n--{BOUNDARY}--\r\n".encode(), kind=FORM)


def png(width=32, height=32, *chunks, data=None):
    """A PNG that says of itself what one wants."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * height)) if data is None else data
    extra = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def photograph(kind):
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save(stream, format=kind)
    return stream.getvalue()


def twice(name):
    return post("/session", f'{{"token": "x", "{name}": "y", "{name}": 5}}'.encode())


BOMB = zlib.compress(bytes(80 << 20), 9)
NESTED = b'{"options": ' + b'{"images": ' * 20_000 + b"1" + b"}" * 20_001
TRAVERSALS = {  # in the place of a dataset's name
    "dots": "..",
    "dots and slash": "../secret",
    "encoded slash": "..%2fsecret",
    "encoded dots": "%2e%2e%2fsecret",
    "encoded twice": "%252e%252e%252fsecret",
    "backslash": "..%5csecret",
    "overlong UTF-8": "..%c0%afsecret",
    "full width": "%ef%bc%8e%ef%bc%8e%ef%bc%8fsecret",
    "absolute": "%2fetc%2fpasswd",
    "deep": "%2e%2e/" * 30 + "etc/passwd",
    "null byte": "faces%00.zarr",
    "newline": "faces%0a",
    "carriage return": "faces%0d%0aset-cookie:%20a=b",
    "url": "file:%2f%2f%2fetc%2fpasswd",
    "bucket": "s3:%2f%2fother%2ffaces",
    "chained url": "zip:%2f%2f*::http:%2f%2f127.0.0.1%2fa.zip",
    "semicolon": "faces;a=b",
    "unicode digits": "%d9%a1%d9%a2",
    "right to left": "%e2%80%aesecaf",
    "long": "a" * 4000,
    "template": "%7b%7b7*7%7d%7d",
    "shell": "$(id)",
    "glob": "*",
    "hidden": ".hidden",
}
SOURCES = {
    "dots": "../secret.zarr",
    "absolute": "/etc",
    "middle": "people/../../secret.zarr",
    "link out": "out/secret.zarr",
    "file": "file:///etc/passwd",
    "http": "http://127.0.0.1:1/latest/meta-data",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "other bucket": "s3://other/faces",
    "google": "gs://other/faces",
    "memory": "memory://faces",
    "chained": "simplecache::http://127.0.0.1:1/a.zip",
    "reference": "reference::s3://other/a.json",
    "home": "~/.ssh",
    "null byte": "people\0",
    "backslash": "..\\..\\secret.zarr",
    "windows": "\\\\127.0.0.1\\share",
    "lone surrogate": "\ud800",
    "empty": "",
    "endless": "a" * 100_000,
}
HOSTILE = {
    # traversal in names
    **{f"name: {kind}": ((404, 422), get(f"/api/v1/datasets/{name}")) for kind, name in TRAVERSALS.items()},
    "picture of elsewhere": ((404, 422), get("/api/v1/datasets/faces/rows/0/..%2f..%2fzarr.png")),
    "model of elsewhere": ((404, 422), get("/api/v1/models/..%2f..%2fsecret/download")),
    "delete elsewhere": ((404, 422), request("DELETE", "/api/v1/datasets/..%2f..%2fsecret")),
    "static file of elsewhere": (404, get("/static/..%2f..%2f..%2fapp.py")),
    "static file, absolute": (404, get("/static/%2fetc/passwd")),
    "job of elsewhere": ((404, 422), get("/api/v1/jobs/..%2fdatasets%2ffaces.zarr%2fzarr")),
    "comparison of elsewhere": ((404, 422), get("/api/v1/comparisons/..%2f..%2fsecret/picture.png")),
    "absolute target": ((404, 421), get("http://169.254.169.254/latest/meta-data/")),
    # what is fetched
    **{f"source: {kind}": ((404, 422), ingest(source)) for kind, source in SOURCES.items()},
    "images of another bucket": (422, train(images="s3://other/faces.zarr")),
    "images of a file": (422, train(images="/etc/passwd")),
    "scores on a url": (422, get("/api/v1/models/smile/scores?dataset=http://127.0.0.1:1/")),
    "scheduler of somebody": (422, train(scheduler="tcp://192.0.2.1:8786")),
    "storage options": (422, train(storage_options={"endpoint_url": "http://127.0.0.1:1"})),
    "output elsewhere": (422, job(name="../../out", **PAIR)),
    "output with a bucket": (422, job(name="s3://other/out", **PAIR)),
    # numbers and types
    "not a number": (422, post("/plans", b'{"options": {"images": "faces", "source": "neutral", "alpha": NaN}}')),
    "infinite": (422, post("/plans", b'{"options": {"images": "faces", "source": "neutral", "alpha": 1e999}}')),
    "negative": (422, train(alpha=-1)),
    "negative size": (422, train(receptive_field=-3)),
    "huge": (422, train(receptive_field=10**30)),
    "thousands of digits": ((400, 422), post("/plans", b'{"options": {"folds": ' + b"9" * 100_000 + b"}}")),
    "huge dataset": ((422, 507), generate(images=10**5, size=4096)),
    "huge number of people": (422, generate(images=10**18)),
    "huge memory": (422, train(max_memory="999999GiB")),
    "huge offset": (422, get("/api/v1/datasets/faces/rows?offset=" + "9" * 400)),
    "huge row": ((404, 422), get("/api/v1/datasets/faces/rows/99999999999999999999/neutral.png")),
    "negative row": (422, get("/api/v1/datasets/faces/rows/-1/neutral.png")),
    "huge picture": (422, get("/api/v1/datasets/faces/rows/0/neutral.png?size=1000000000")),
    "huge limit": (422, get("/api/v1/jobs?limit=1000000000")),
    "pixel far away": (422, get("/api/v1/models/smile/receptive-field?y=99999&x=0")),
    "radius without end": (422, get("/api/v1/models/smile/importance.png?radius=1e308")),
    "radius that is none": (422, get("/api/v1/models/smile/importance.png?radius=nan")),
    "text for a number": (422, train(receptive_field="5")),
    "list for a name": (422, post("/plans", {"options": {"images": ["faces"], "source": "neutral"}})),
    "object for a text": (422, job(name={"$ne": None}, **PAIR)),
    "no object": (422, post("/jobs", [1, 2])),
    "null": (422, post("/jobs", b"null")),
    "prototype": (422, post("/jobs", {"verb": "train", "name": "x", "options": PAIR, "__proto__": {"a": 1}})),
    "a verb of python": (422, job(verb="__import__")),
    "too many fields": (422, train(**{f"option_{n}": n for n in range(1000)})),
    "same field twice": (422, twice("more")),
    "unicode name": (422, job(name="gesichter-ä", **PAIR)),
    "null byte in a name": (422, job(name="a\0b", **PAIR)),
    "impossible options": (422, train(receptive_field=99)),
    # bodies
    "deep json": ((400, 422), post("/plans", NESTED)),
    "deep list": (400, post("/plans", b"[" * 500_000)),
    "half json": (400, post("/plans", b'{"options": {"images": ')),
    "not utf-8": (400, post("/plans", b'{"options": "\xff\xfe"}')),
    "utf-16": ((400, 422), post("/plans", "{}".encode("utf-16"))),
    "huge body": (413, post("/plans", b" " * (1 << 20 | 1))),
    "huge body, said": (413, post("/plans", b"{}", {"content-length": "99999999999999999999"})),
    "huge body, in pieces": (
        413,
        post("/plans", b"80000\r\n" + b" " * 0x80000 + b"\r\n80000\r\n" + b" " * 0x80000 + b"\r\n1\r\n \r\n0\r\n\r\n",
             {"transfer-encoding": "chunked", "content-length": None}),
    ),
    "xml": (415, post("/plans", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", kind="text/xml")),
    "form for json": ((415, 422), post("/jobs", b"verb=train", kind="application/x-www-form-urlencoded")),
    "text for json": (415, post("/jobs", PLAN, kind="text/plain")),
    "pickle": (415, post("/jobs", b"\x80\x04K\x01.", kind="application/x-pickle")),
    "no type": (415, post("/jobs", PLAN, kind="")),
    "gzip": ((400, 415, 422), post("/jobs", zlib.compress(b"{}"), {"content-encoding": "deflate"})),
    "json for a form": ((400, 415, 422), post("/synthesis", {"model": "smile"})),
    "form without end": ((400, 422), post("/synthesis", b"--x", kind=FORM)),
    "form without boundary": ((400, 422), post("/synthesis", b"--x", kind="multipart/form-data")),
    "many fields": (
        (400, 422),
        post("/synthesis", f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n'.encode() * 2000
             + f"--{BOUNDARY}--\r\n".encode(), kind=FORM),
    ),
    # photographs
    "png bomb": ((413, 415, 422), synthesis(png(20_000, 20_000, data=BOMB))),
    "png that says it is huge": ((413, 415, 422), synthesis(png(2**31 - 1, 2**31 - 1, data=b""))),
    "png of 200 megapixels": (413, synthesis(png(20_000, 10_000, data=BOMB))),
    "png of noise": ((415, 422), synthesis(png(32, 32, data=b"noise" * 20))),
    "png without pixels": ((415, 422), synthesis(png(0, 0))),
    "png with a colour profile bomb": (
        (413, 415, 422), synthesis(png(40, 40, (b"iCCP", b"a\0\0" + BOMB), data=b"\0" * 9))
    ),
    "png with a text bomb": ((413, 415, 422), synthesis(png(40, 40, (b"zTXt", b"a\0\0" + BOMB), data=b"\0" * 9))),
    "one byte": ((415, 422), synthesis(b"\x89")),
    "nothing": ((415, 422), synthesis(b"")),
    "truncated": ((415, 422), synthesis(photograph("PNG")[:60])),
    "svg": (415, synthesis(b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a.svg")),
    "gif": (415, synthesis(photograph("GIF"), "a.gif")),
    "postscript": (415, synthesis(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps")),
    "npy with a pickle": (415, synthesis(b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (1,)}\n", "a.npy")),
    "zip": (415, synthesis(b"PK\x03\x04" + bytes(100), "../../a.zip")),
    "name of a file of elsewhere": ((415, 422), synthesis(b"x", "../../../../etc/passwd")),
    "model of a url": (422, synthesis(photograph("PNG"), model="http://127.0.0.1:1/")),
    "model above": (422, synthesis(photograph("PNG"), model="../secret")),
    "strength that is none": (422, synthesis(photograph("PNG"), strength="nan")),
    "points without end": (422, synthesis(photograph("PNG"), points="1," * 2000)),
    "pupils far away": (422, synthesis(photograph("PNG"), points="999999,999999,-999999,0")),
    # who asks
    "no token": (401, get("/api/v1/datasets", known=False)),
    "wrong token": (401, get("/api/v1/datasets", {"authorization": "Bearer wrong"})),
    "token not of ascii": (401, get("/api/v1/datasets", {"authorization": "Bearer \xe4\xf6"})),
    "endless token": (401, get("/api/v1/datasets", {"authorization": "Bearer " + "a" * 30_000})),
    "token of another kind": (401, get("/api/v1/datasets", {"authorization": "Basic " + "YTpi"})),
    "token in the query": (401, get(f"/api/v1/datasets?token={TOKEN}", known=False)),
    "cookie that was made up": (401, get("/api/v1/datasets", {"cookie": "mrdist_session=9999999999.a.0"}, known=False)),
    "cookie not of ascii": (401, get("/api/v1/datasets", {"cookie": "mrdist_session=9.\xb2.\xff"}, known=False)),
    "metrics without a token": (401, get("/metrics", known=False)),
    "path that looks public": ((401, 404), get("/static/../api/v1/datasets", known=False)),
    "double slash": (401, get("//api/v1/datasets", known=False)),
    "login with a wrong token": (401, post("/session", {"token": "x"}, known=False)),
    "host of somebody": (421, get("/api/v1/datasets", host="evil.example")),
    "host that is an address": (421, get("/api/v1/datasets", host="169.254.169.254")),
    "host with a user": (400, get("/api/v1/datasets", host="127.0.0.1@evil.example")),
    "host that is empty": (400, get("/api/v1/datasets", host="")),
    "host with a path": (400, get("/api/v1/datasets", host="127.0.0.1/evil")),
    "no host": (400, get("/api/v1/datasets", host=None)),
    "two hosts": (400, get("/api/v1/datasets", {"Host": "evil.example"})),
    "forwarded host": (401, get("/api/v1/jobs", {"x-forwarded-host": "a", "x-forwarded-for": "::1"}, known=False)),
    "origin of somebody": (403, get("/api/v1/datasets", {"origin": "http://evil.example"})),
    "origin that is none": (403, post("/plans", PLAN, {"origin": "null"})),
    "origin of another port": (403, post("/plans", PLAN, {"origin": "http://127.0.0.1:1"})),
    "page of another site": (403, post("/plans", PLAN, {"sec-fetch-site": "cross-site"})),
    # methods and heads
    "put": (405, request("PUT", "/api/v1/datasets/faces")),
    "trace": (405, request("TRACE", "/api/v1/datasets")),
    "patch": (405, request("PATCH", "/api/v1/jobs")),
    "made-up method": (405, request("FACES", "/api/v1/jobs")),
    "method by a header": (405, post("/datasets/faces", {}, {"x-http-method-override": "DELETE"})),
    "method by a field": (405, post("/datasets/faces?_method=DELETE", {})),
    "tunnel": ((400, 404, 405, 421), request("CONNECT", "169.254.169.254:80")),
    "web socket": (404, get("/api/v1/nothing", {"upgrade": "websocket", "connection": "Upgrade, close"})),
    "header on two lines": (400, get("/api/v1/datasets", {"x": "a\r\n\x00b: c"})),
    "null byte in a header": (400, get("/api/v1/datasets", {"x": "a\0b"})),
    "space before a colon": (400, get("/api/v1/datasets", {"x ": "a"})),
    "endless header": ((400, 431), get("/api/v1/datasets", {"x": "a" * 200_000})),
    "endless path": ((400, 404, 414, 422), get("/" + "a" * 60_000)),
    "two lengths": (400, post("/plans", b"{}", {"content-length": "2", "Content-Length": "3"})),
    "length below nothing": (400, post("/plans", b"{}", {"content-length": "-1"})),
    "length and pieces": ((400, 415, 422), post("/plans", b"0\r\n\r\n", {"transfer-encoding": "chunked"})),
    "pieces of no size": (
        400, post("/plans", b"zz\r\n{}\r\n", {"transfer-encoding": "chunked", "content-length": None})
    ),
    "no http": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n"),
    "http/2": (400, b"PRI * HTTP/2.0\r\nconnection: close\r\n\r\n"),
    "bytes in a path": (400, b"GET /\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
    "idempotency key without end": (422, post("/jobs", {}, {"idempotency-key": "k" * 5000})),
    "event id without end": (
        (404, 422), get("/api/v1/jobs/20261125t093000123456-0f3a9c2e/events", {"last-event-id": "9" * 5000})
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_hostile_is_refused(service, kind):
    statuses, data = HOSTILE[kind]
    status, headers, content = send(service, data)
    assert status in (statuses if isinstance(statuses, tuple) else (statuses,)), content[:500]
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    assert len(content) < 2000
    found = json.loads(content)
    assert {"type", "title", "status", "detail"} <= set(found)
    assert found["status"] == status
    said = found["detail"]
    assert said.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", said), said
    assert "\n" not in said
    told = content.decode()
    for secret in (TOKEN, str(service.folder), "Traceback", "secret of this machine", "site-packages", "root:"):
        assert secret not in told


def test_it_lives_and_nothing_has_changed(service):
    """After all of them: alive, nothing made, nothing deleted, and a normal request does its work."""
    assert send(service, get("/healthz", known=False))[0] == 200
    status, _, content = send(service, get("/api/v1/jobs"))
    assert (status, json.loads(content)["jobs"]) == (200, [])
    _, _, content = send(service, get("/api/v1/datasets"))
    assert [each["name"] for each in json.loads(content)["datasets"]] == ["faces"]
    status, headers, content = send(service, synthesis(photograph("PNG")))
    assert (status, headers["content-type"]) == (200, "image/png"), content
    assert (service.folder / "secret.zarr/zarr.json").exists()


def test_a_cookie_without_its_proof_changes_nothing(service):
    login = post("/session", {"token": TOKEN}, known=False)
    status, headers, _ = send(service, login)
    assert status == 204
    cookie = {"cookie": headers["set-cookie"].partition(";")[0]}
    for proof in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "0" * 64}, {"x-csrf-token": "\xe4"}):
        data = request("DELETE", "/api/v1/datasets/faces", {**cookie, **proof}, known=False)
        status, _, content = send(service, data)
        assert status == 403
        assert "X-CSRF-Token" in json.loads(content)["detail"]
    assert send(service, get("/api/v1/datasets/faces", cookie, known=False))[0] == 200
