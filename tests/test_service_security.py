"""Who may use the service, and what it says to those who may not."""

import json

import pytest
from fastapi.testclient import TestClient
from services import token_file

from mrdist.errors import ParameterError
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings
from mrdist.service.tokens import read_token

TOKEN = "the-token-of-these-tests"
DATASETS = "/api/v1/datasets"


@pytest.fixture
def client(tmp_path):
    """Return a factory of clients of a service with a catalogue of its own."""

    def make(host="127.0.0.1", raising=True, **settings):
        app = create_app(Catalog.open(str(tmp_path / "catalog")), Settings(**settings))
        return TestClient(app, base_url=f"http://{host}", raise_server_exceptions=raising)

    return make


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["detail"].endswith(".")
    assert found["detail"].count(". ") == 0
    return found["detail"]


def test_on_loopback_no_token_is_needed(client):
    assert client().get(DATASETS).json() == {"datasets": []}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_elsewhere_a_token_is_needed(host):
    with pytest.raises(ParameterError, match="without a token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).token == TOKEN


def test_a_token_is_never_printed():
    assert TOKEN not in repr(Settings(token=TOKEN))


@pytest.mark.parametrize("content", ["", "short", "two words that are long enough", "ä" * 20])
def test_a_token_that_is_none_is_refused(tmp_path, content):
    token_file(tmp_path, content)
    with pytest.raises(ParameterError, match="token"):
        read_token(str(tmp_path / "token"))


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    token_file(tmp_path, f"{TOKEN}\n")
    monkeypatch.delenv("MRDIST_TOKEN", raising=False)
    assert read_token(str(tmp_path / "token")) == TOKEN
    assert read_token(None) is None
    monkeypatch.setenv("MRDIST_TOKEN", TOKEN)
    assert read_token(None) == TOKEN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer"},
        {"cookie": f"mrdist_session={TOKEN}"},
        {"cookie": "mrdist_session=99999999999.x.0000"},
    ],
)
def test_without_the_token_nothing_is_told(client, headers):
    service = client(token=TOKEN)
    for path in (DATASETS, "/api/v1/nothing", "/metrics"):
        answer = service.get(path, headers=headers)
        assert "token" in problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
    assert service.get("/healthz").status_code == 200


def test_the_token_opens(client):
    assert client(token=TOKEN).get(DATASETS, headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_a_session_stands_for_the_token_where_nothing_is_changed(client):
    service = client(token=TOKEN)
    problem(service.post("/api/v1/session", json={"token": "wrong"}), 401)
    answer = service.post("/api/v1/session", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert service.get(DATASETS).status_code == 200
    assert "X-CSRF-Token" in problem(service.delete(f"{DATASETS}/faces"), 403)
    problem(service.delete(f"{DATASETS}/faces", headers={"x-csrf-token": "0" * 64}), 403)
    token = service.app.state.sessions.csrf_token(service.cookies["mrdist_session"])
    problem(service.delete(f"{DATASETS}/faces", headers={"x-csrf-token": token}), 404)
    assert service.delete("/api/v1/session").status_code == 204
    problem(service.get(DATASETS), 401)


def test_a_session_outlives_the_service_and_ends_with_its_token(client):
    first = client(token=TOKEN)
    first.post("/api/v1/session", json={"token": TOKEN})
    cookies = {"cookie": f"mrdist_session={first.cookies['mrdist_session']}"}
    assert client(token=TOKEN).get(DATASETS, headers=cookies).status_code == 200
    problem(client(token=f"{TOKEN}-2").get(DATASETS, headers=cookies), 401)


def test_a_wrong_token_is_not_repeated(client):
    answer = client(token=TOKEN).post("/api/v1/session", json={"token": "s" * 2000})
    problem(answer, 422)
    assert "sss" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.7"])
def test_names_of_others_are_refused(client, host):
    assert "not allowed" in problem(client(host).get(DATASETS), 421)


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:8899", "LOCALHOST"])
def test_the_own_names_are_known(client, host):
    assert client().get(DATASETS, headers={"host": host}).status_code == 200


def test_a_name_can_be_allowed(client):
    assert client("faces.example", allowed_hosts=("faces.example",)).get(DATASETS).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "user@localhost", "localhost/", "localhost:x"])
def test_a_host_that_is_none_is_refused(client, host):
    problem(client().get(DATASETS, headers={"host": host}), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:99"},
        {"origin": "file://127.0.0.1"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_others_are_refused(client, headers):
    for method in ("GET", "POST", "DELETE"):
        problem(client().request(method, f"{DATASETS}/faces", headers=headers), 403)


def test_the_own_page_is_not_refused(client):
    headers = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert client().get(DATASETS, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", DATASETS, f"{DATASETS}/unknown", "/nothing", f"{DATASETS}/UPPER"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_a_client_that_asks_too_often_waits(client):
    service = client(requests_per_second=3)
    answers = [service.get("/healthz") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert "3 requests per second" in problem(answers[-1], 429)
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_large_bodies_are_refused_before_they_are_read(client):
    service = client()
    headers = {"content-type": "application/json"}
    assert "1048576" in problem(service.post("/api/v1/session", content=b" " * (1 << 20 | 1), headers=headers), 413)
    pieces = (b" " * 100_000 for _ in range(20))
    assert "1048576" in problem(service.post("/api/v1/session", content=pieces, headers=headers), 413)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ("not json", "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        ("", "application/json", 422),
        ('{"token": 5}', "application/json", 422),
        ('{"token": "x", "more": 1}', "application/json", 422),
        ("token=x", "application/x-www-form-urlencoded", 415),
        ("<token/>", "text/xml", 415),
        ('{"token": "x"}', "", 415),
    ],
)
def test_bodies_that_are_no_requests_are_refused(client, content, kind, status):
    problem(client().post("/api/v1/session", content=content, headers={"content-type": kind}), status)


@pytest.mark.parametrize("name", ["..", "a b", "A", "%00", "a%2Fb", "a" * 64, "-a", ".hidden"])
def test_names_that_are_none_lead_nowhere(client, tmp_path, name):
    outside = tmp_path / "secret.zarr"
    outside.mkdir()
    assert client().get(f"{DATASETS}/{name}").status_code in (404, 422)
    assert client().delete(f"{DATASETS}/{name}").status_code in (404, 405, 422)
    assert outside.exists()


@pytest.mark.parametrize(
    "path", ["..", "../models", "/etc", "a/../../b", "s3://other/x", "file:///etc", "a//b", "~", ""]
)
def test_sources_lie_in_the_catalogue(tmp_path, path):
    with pytest.raises(ParameterError, match="sources"):
        Catalog.open(str(tmp_path)).source(path)


def test_a_source_that_is_a_link_to_elsewhere_is_refused(tmp_path):
    catalog = Catalog.open(str(tmp_path / "catalog"))
    (tmp_path / "catalog/sources/in").mkdir()
    (tmp_path / "catalog/sources/out").symlink_to(tmp_path)
    assert catalog.source("in").endswith("sources/in")
    with pytest.raises(ParameterError, match="leads out"):
        catalog.source("out/catalog")


def test_what_goes_wrong_inside_is_not_told(client, monkeypatch):
    def fail(_):
        raise ZeroDivisionError("a secret of the inside")

    service = client(raising=False)
    monkeypatch.setattr(Catalog, "check", fail)
    answer = service.get("/readyz")
    assert "log" in problem(answer, 500)
    assert "secret" not in answer.text


def test_the_description_is_whole(client):
    described = json.loads(client(token=TOKEN).get("/openapi.json").text)
    assert described["paths"][DATASETS]["get"]["security"]
    assert "Problem" in described["components"]["schemas"]
    assert {"400", "401", "403", "404", "413", "415", "421", "422", "429", "500", "503"} <= set(
        described["paths"][f"{DATASETS}/{{name}}"]["get"]["responses"]
    )
