"""Sessions, tokens and slow clients, over real HTTP."""

import http.client
import json
import os
import select
import socket
import time
from urllib.parse import urlsplit

import commands
import pytest
from services import serving, token_file

from mrdist.errors import ParameterError
from mrdist.service.settings import Settings
from mrdist.service.tokens import read_token, read_users

TOKEN = "the-token-of-the-session-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
QUICK = "from mrdist.service import server; server._BODY_SECONDS = 1; server._PATIENCE_SECONDS = 0.2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    token_file(folder, TOKEN)
    return folder


@pytest.fixture(scope="module")
def service(folder):
    """A service that wants a token, trusts a proxy on loopback, and has little patience."""
    log = folder / "log"
    options = ("--token-file", folder / "token", "--trust-proxy", "127.0.0.1", "--access-log", folder / "access")
    with serving(folder / "catalog", log, *options, "--workers", 0, first=QUICK) as found:
        yield found
    assert "Traceback" not in log.read_text()
    assert TOKEN not in log.read_text() + (folder / "access").read_text()


def login(service, **headers):
    """Sign in and return the cookie as a browser keeps it."""
    status, answer, _ = service.raw("POST", "/session", {"token": TOKEN}, headers)
    assert status == 204
    return answer["set-cookie"]


def cookie_of(set_cookie):
    return {"cookie": set_cookie.partition(";")[0]}


def status_of(service, headers, method="GET", path="/datasets"):
    return service.raw(method, path, headers=headers)[0]


def client_in_log(folder, path):
    """Return from where a request came, as the access log has it."""

    def look():
        lines = map(json.loads, (folder / "access").read_text().splitlines())
        return next((line["client"] for line in lines if line["path"] == f"/api/v1{path}"), None)

    return commands.wait_until(look, "the line of the log")


def test_small_answers_do_not_wait_for_the_client(service):
    """Where they do, each takes the 40 ms after which a client acknowledges the head of an answer by itself."""
    connection, seconds = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30), []
    for _ in range(40):
        begin = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - begin)
    connection.close()
    assert min(seconds[20:]) < 0.03  # the first ones are acknowledged at once


@pytest.mark.slow
def test_a_connection_stays_open_for_longer_than_clients_take_it_for_open(tmp_path):
    """Or what they send meets its end: httpx uses one again within 5 s."""
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 0) as service:
        connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
        for _ in range(2):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            assert not select.select([connection.sock], [], [], 6)[0]
        connection.close()


def test_a_wrong_token_is_called_wrong_and_none_is_called_missing(service):
    for path in ("/session", "/datasets"):
        for headers, words in (({}, "is needed"), ({"authorization": "Bearer x"}, "is wrong")):
            status, _, content = service.raw("GET", path, headers=headers)
            assert (status, words in json.loads(content)["detail"]) == (401, True)


@pytest.mark.slow
def test_a_session_that_has_ended_stays_ended(service, folder):
    ours, others = cookie_of(login(service)), cookie_of(login(service))
    assert status_of(service, ours) == 200
    assert status_of(service, ours, "DELETE", "/session") == 204
    assert status_of(service, ours) == 401
    assert status_of(service, others) == 200, "another device"
    with serving(folder / "catalog", folder / "log", "--token-file", folder / "token", "--workers", 0) as later:
        moved = {name: {"cookie": _renamed(cookie["cookie"], later)} for name, cookie in
                 (("ours", ours), ("others", others))}  # fmt: skip
        assert status_of(later, moved["ours"]) == 401
        assert status_of(later, moved["others"]) == 200


def _renamed(cookie, service):
    return f"mrdist_session_{urlsplit(service.url).port}={cookie.partition('=')[2]}"


def test_what_the_catalogue_keeps_of_a_session_opens_nothing(service, folder):
    cookie = cookie_of(login(service))["cookie"]
    name, _, secret = cookie.partition("=")
    for record in (folder / "catalog/sessions").iterdir():
        content = json.loads(record.read_text())
        assert secret not in record.name + record.read_text()
        for guess in (record.stem, content["proof"]):
            assert status_of(service, {"cookie": f"{name}={guess}"}) == 401


def test_every_service_of_a_host_has_a_cookie_of_its_own(service):
    assert login(service).startswith(f"mrdist_session_{urlsplit(service.url).port}=")


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"x-forwarded-proto": "https"}, True),
        ({"origin": "ours"}, False),
        ({"origin": "ours over TLS"}, True),
    ],
)
def test_a_cookie_of_tls_is_for_tls_alone(service, headers, secure):
    host = urlsplit(service.url).netloc
    origin = {"ours": f"http://{host}", "ours over TLS": f"https://{host}"}
    sent = {name: origin.get(value, value) for name, value in headers.items()}
    assert ("; secure" in login(service, **sent).lower()) == secure


@pytest.mark.slow
def test_only_a_trusted_proxy_says_who_its_clients_are(service, folder, tmp_path):
    told = {**BEARER, "x-forwarded-for": "192.0.2.44", "x-forwarded-proto": "https"}
    assert status_of(service, told, path="/models") == 200
    assert client_in_log(folder, "/models") == "192.0.2.44"
    options = ("--token-file", folder / "token", "--access-log", tmp_path / "access", "--workers", 0)
    with serving(tmp_path / "catalog", tmp_path / "log", *options) as direct:
        assert "; secure" not in login(direct, **{"x-forwarded-proto": "https"}).lower()
        assert status_of(direct, told, path="/models") == 200
        assert client_in_log(tmp_path, "/models") == "127.0.0.1"


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1/8", "*", ""])
def test_a_proxy_is_an_address(address):
    with pytest.raises(ParameterError, match="network of a proxy"):
        Settings(trusted_proxies=(address,))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
@pytest.mark.parametrize("read", [read_token, read_users])
def test_a_file_of_tokens_that_others_may_read_or_change_is_refused(tmp_path, mode, read):
    path = token_file(tmp_path, TOKEN, mode=mode)
    with pytest.raises(ParameterError, match=f"mode {mode:04o}.*chmod 600 {path}") as refused:
        read(str(path))
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("command", [("serve", "--token-file"), ("serve", "--tokens"), ("jobs", "--token-file")])
def test_commands_refuse_it_in_one_sentence(tmp_path, command):
    path = token_file(tmp_path, TOKEN, mode=0o644)
    done = commands.warm(*command, path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "chmod 600" in done.stderr


# --- slow bodies ---------------------------------------------------------------------------------------


def drip(service, request, seconds):
    """Send a request's head, then a byte of its body now and then; return what is answered, and after what time."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(request.replace("HOST", address.netloc).encode())
        began, answer = time.monotonic(), b""
        while time.monotonic() - began < seconds:
            readable, _, _ = select.select([connection], [], [], 0.05)
            try:
                if readable:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        break
                    answer += piece
                connection.sendall(b" ")
            except OSError:
                break
        else:
            raise AssertionError(f"after {seconds} s the connection was still open: {answer}")
        return answer


SLOW = {
    "a body that is read": ("POST /api/v1/plans", BEARER, b" 408 "),
    "a form that is read": ("POST /api/v1/synthesis", BEARER, b" 408 "),
    "one without a token": ("POST /api/v1/plans", {}, b" 401 "),
    "one that is not read": ("GET /api/v1/datasets", BEARER, b" 200 "),
}


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("framing", ["content-length: 900000", "transfer-encoding: chunked"])
def test_a_slow_body_has_an_end(service, kind, framing):
    line, headers, status = SLOW[kind]
    form = "multipart/form-data; boundary=x" if "synthesis" in line else "application/json"
    lines = [f"{line} HTTP/1.1", "host: HOST", f"content-type: {form}", framing]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["", *(["f0000"] if "chunked" in framing else [])]
    lines += (
        ["--x", 'content-disposition: form-data; name="photograph"; filename="a"', "", ""] if form[0] == "m" else [""]
    )
    answer = drip(service, "\r\n".join(lines), 20)
    assert status in answer.partition(b"\r\n")[0]
    if status == b" 408 ":
        head, _, content = answer.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert json.loads(content)["detail"].endswith(".")
    assert status_of(service, BEARER) == 200


def test_a_body_that_takes_less_than_the_limit_is_read(service):
    address = urlsplit(service.url)
    body = b'{"options": {"images": "nothing", "source": "neutral", "target": "happy"}}'
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.putrequest("POST", "/api/v1/plans")
    for name, value in {**BEARER, "content-type": "application/json", "content-length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for n in range(0, len(body), 20):
        connection.send(body[n : n + 20])
        os.sched_yield()
    with connection.getresponse() as answer:
        assert answer.status == 404
    connection.close()
