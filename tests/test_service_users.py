"""Users of a service: what their tokens let them do, and what is noted of it."""

import json
import stat

import commands
import pytest
from fastapi.testclient import TestClient
from services import serving, token_file

import mrdist
from mrdist.errors import ParameterError
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.roles import NEEDED, ROLES
from mrdist.service.settings import Settings
from mrdist.service.tokens import add_line, make_token, read_users

PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
NAMES = {"read": "rita", "train": "tom", "admin": "ada"}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("users")


@pytest.fixture(scope="module")
def tokens(folder):
    """The token of a user of every role, by their role; the lines of the file are beside it."""
    drawn = {}
    for role, name in NAMES.items():
        drawn[role], line = make_token(name, role)
        add_line(str(folder / "tokens"), line)
    return drawn


@pytest.fixture(scope="module")
def app(folder, tokens):
    settings = Settings(workers=0, tokens=str(folder / "tokens"), access_log=str(folder / "access"))
    return create_app(Catalog.open(str(folder / "catalog")), settings)


@pytest.fixture
def client(app):
    """A browser without cookies."""
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


@pytest.fixture
def access(folder):
    """Return a function that returns what was added to the access log since the test began."""
    before = len((folder / "access").read_text())
    return lambda: [json.loads(line) for line in (folder / "access").read_text()[before:].splitlines()]


def routes_of(app):
    """Return all routes that are not FastAPI's own, by their name: a method and a path that fits."""
    found = {}
    for path, methods, name in app.state.known_routes:
        for part, value in {
            "name": "none", "job": "20261125t093000123456-0f3a9c2e", "row": "0", "label": "happy", "dataset": "none",
            "path": "css/base.css", "source": "none",
        }.items():  # fmt: skip
            path = path.replace(f"{{{part}}}", value).replace(f"{{{part}:path}}", value)
        found[name] = (next(iter(methods)), path)
    return found


# --- one table -----------------------------------------------------------------------------------------


def test_every_route_is_in_the_table_and_nothing_else_is(app):
    assert set(routes_of(app)) == set(NEEDED)
    assert all("{" not in path for _, path in routes_of(app).values())


@pytest.mark.parametrize("route", NEEDED)
@pytest.mark.parametrize("role", [None, *ROLES])
def test_a_route_is_open_to_those_of_the_table(app, client, tokens, role, route):
    method, path = routes_of(app)[route]
    needed = NEEDED[route]
    headers = {} if role is None else bearer(tokens[role])
    answer = client.request(method, path, headers=headers)
    if role is None:
        assert (answer.status_code == 401) == (needed is not None), answer.text
    elif needed is None or ROLES.index(role) >= ROLES.index(needed):
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert answer.status_code == 403
        said = answer.json()["detail"]
        assert NAMES[role] in said
        assert f"the role {needed}" in said


def test_the_description_tells_the_roles(client):
    described = client.get("/openapi.json").json()
    for operations in described["paths"].values():
        for operation in operations.values():
            needed = NEEDED[operation["operationId"]]
            assert operation.get("x-role") == needed
            assert ("security" in operation) == (needed is not None)


def test_a_session_has_the_role_of_its_user(client, tokens):
    assert client.post("/api/v1/session", json={"token": tokens["train"]}).status_code == 204
    assert client.get("/api/v1/session").json() == {"user": "tom", "role": "train"}
    csrf = client.app.state.sessions.csrf_token(client.cookies["mrdist_session"])
    answer = client.delete("/api/v1/models/none", headers={"x-csrf-token": csrf})
    assert (answer.status_code, "tom" in answer.json()["detail"]) == (403, True)


def test_without_a_token_everybody_may_all(tmp_path):
    client = TestClient(create_app(Catalog.open(str(tmp_path))), base_url="http://127.0.0.1")
    assert client.get("/api/v1/session").json() == {"user": None, "role": "admin"}
    assert client.delete("/api/v1/models/none").status_code == 404


def test_one_token_for_all_may_all(tmp_path):
    settings = Settings(token="the-token-for-all-of-them")
    client = TestClient(create_app(Catalog.open(str(tmp_path)), settings), base_url="http://127.0.0.1")
    assert client.get("/api/v1/session").status_code == 401
    known = bearer("the-token-for-all-of-them")
    assert client.get("/api/v1/session", headers=known).json() == {"user": None, "role": "admin"}
    assert client.delete("/api/v1/models/none", headers=known).status_code == 404


def test_one_token_and_those_of_users_exclude_each_other(folder, tokens):
    with pytest.raises(ParameterError, match="exclude each other"):
        Settings(token="the-token-for-all-of-them", tokens=str(folder / "tokens"))


# --- the file ------------------------------------------------------------------------------------------


def test_a_removed_line_ends_token_and_session(tmp_path):
    drawn = {}
    for name in ("ann", "ben"):
        drawn[name], line = make_token(name, "admin")
        add_line(str(tmp_path / "tokens"), line)
    app = create_app(Catalog.open(str(tmp_path / "catalog")), Settings(tokens=str(tmp_path / "tokens")))
    page, shell = (TestClient(app, base_url="http://127.0.0.1") for _ in range(2))
    page.post("/api/v1/session", json={"token": drawn["ann"]})
    lines = (tmp_path / "tokens").read_text().splitlines(keepends=True)
    for text, expected in (("not a line\n", 200), (lines[1], 401)):
        (tmp_path / "tokens").write_text(text)
        assert page.get("/api/v1/session").status_code == expected
        assert shell.get("/api/v1/session", headers=bearer(drawn["ann"])).status_code == expected
    assert shell.get("/api/v1/session", headers=bearer(drawn["ben"])).status_code == 200
    (tmp_path / "tokens").write_text(lines[1].replace("admin", "read"))
    assert shell.get("/api/v1/session", headers=bearer(drawn["ben"])).json()["role"] == "read"


def test_a_new_token_ends_the_sessions_of_the_old_one(tmp_path):
    token, line = make_token("ann", "read")
    token_file(tmp_path, line, "tokens")
    app = create_app(Catalog.open(str(tmp_path / "catalog")), Settings(tokens=str(tmp_path / "tokens")))
    page = TestClient(app, base_url="http://127.0.0.1")
    page.post("/api/v1/session", json={"token": token})
    assert page.get("/api/v1/session").status_code == 200
    token_file(tmp_path, make_token("ann", "read")[1] + "\n", "tokens")
    assert page.get("/api/v1/session").status_code == 401


GOOD = f"ann sha256:{64 * '7'} read"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no tokens"),
        ("# only a comment\n", "has no tokens"),
        (f"{GOOD}\n{GOOD}", "line 2 .* second one of ann"),
        (f"\n{GOOD} more", "line 2 "),
        (GOOD.replace("read", "root"), "line 1 .*read, train, admin"),
        (GOOD.replace("sha256:", "md5:"), "line 1 "),
        (GOOD[:-10], "line 1 "),
        (f"../{GOOD}", "line 1 "),
        ("ann the-token-itself-in-plain-text read", "line 1 "),
        ("ä" * 20, "plain text"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, said):
    path = token_file(tmp_path, content)
    with pytest.raises(ParameterError, match=said) as refused:
        read_users(str(path))
    assert "the-token-itself" not in str(refused.value)


def test_the_command_draws_a_token_and_keeps_its_hash(tmp_path):
    path = tmp_path / "tokens"
    for name, role in (("ann", "train"), ("ben.b@lab", "read")):
        made = commands.report("token", name, "--role", role, "--tokens", path)
        assert (made["user"], made["role"]) == (name, role)
        assert made["token"] not in path.read_text()
        assert made["line"] in path.read_text().splitlines()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [(user.name, user.role) for user in read_users(str(path))] == [("ann", "train"), ("ben.b@lab", "read")]
    before = path.read_text()
    done = commands.warm("token", "ann", "--role", "admin", "--tokens", path)
    assert (done.returncode, "already" in done.stderr) == (1, True)
    assert path.read_text() == before
    for name in ("", "a b", "#ann", "-ann", "ä", "a" * 64):
        assert commands.warm("token", "--role", "read", "--", name).returncode != 0


# --- who did what --------------------------------------------------------------------------------------


def test_the_access_log_says_who_asked_for_what(client, tokens, access):
    client.get("/api/v1/jobs?limit=5", headers=bearer(tokens["read"]))
    client.delete("/api/v1/models/none", headers=bearer(tokens["train"]))
    client.get("/api/v1/models?token=in-a-query", headers=bearer("a-wrong-token"))
    client.post("/api/v1/session", json={"token": "a-wrong-token"})
    client.post("/api/v1/session", json={"token": tokens["admin"]})
    client.get("/api/v1/jobs%0A%E2%80%A8")
    found = [(line["user"], line["role"], line["method"], line["path"], line["status"]) for line in access()]
    assert found == [
        ("rita", "read", "GET", "/api/v1/jobs", 200),
        ("tom", "train", "DELETE", "/api/v1/models/none", 403),
        (None, None, "GET", "/api/v1/models", 401),
        (None, None, "POST", "/api/v1/session", 401),
        ("ada", "admin", "POST", "/api/v1/session", 204),
        ("ada", "admin", "GET", "/api/v1/jobs\n\u2028", 404),
    ]
    assert all(line["client"] and line["time"] and line["seconds"] >= 0 and line["bytes"] >= 0 for line in access())
    assert not any(secret in json.dumps(access()) for secret in (*tokens.values(), "a-wrong-token", "in-a-query"))


def test_the_access_log_is_read_by_its_owner_and_can_be_moved_away(folder, app, client, access):
    assert stat.S_IMODE((folder / "access").stat().st_mode) == 0o600
    (folder / "access").rename(folder / "access.1")
    client.get("/healthz")
    assert [json.loads(line)["path"] for line in (folder / "access").read_text().splitlines()] == ["/healthz"]
    (folder / "access.1").replace(folder / "access")


def test_an_access_log_that_cannot_be_written_is_refused(tmp_path):
    done = commands.warm("serve", "--catalog", tmp_path / "catalog", "--access-log", tmp_path / "no/access")
    assert (done.returncode, "--access-log" in done.stderr) == (1, True), done.stderr


@pytest.mark.slow
def test_jobs_and_models_have_the_name_of_their_user(tmp_path, tokens, folder):
    faces = tmp_path / "catalog/datasets/faces.zarr"
    mrdist.generate(faces, images=6, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    known = {"authorization": f"Bearer {tokens['train']}"}
    how = ("--workers", 0, "--tokens", folder / "tokens", "--max-requests", 1e6)  # it is asked as fast as it answers
    with serving(tmp_path / "catalog", tmp_path / "log", *how) as service:
        job = service.ask("POST", "/jobs", {"verb": "train", "name": "smile", "options": PAIR}, **known)
        assert job["user"] == "tom"
        done = commands.wait_until(
            lambda: found if (found := service.ask("GET", f"/jobs/{job['id']}", **known))["state"] == "done" else None,
            "the training",
        )
        assert done["user"] == "tom"
        assert service.ask("GET", "/models/smile", **known)["user"] == "tom"
        assert [each["user"] for each in service.ask("GET", "/models", **known)["models"]] == ["tom"]
        token = token_file(tmp_path, tokens["read"])
        listed = commands.report("jobs", "--url", service.url, "--token-file", token)
        assert [each["user"] for each in listed["jobs"]] == ["tom"]
        refused = commands.warm("cancel", job["id"], "--url", service.url, "--token-file", token)
        assert (refused.returncode, "rita has the role read" in refused.stderr) == (1, True)
        assert service.ask("DELETE", "/models/smile", status=204, **bearer(tokens["admin"])) is None
    assert [path.name for path in (tmp_path / "catalog/models").iterdir()] == []
