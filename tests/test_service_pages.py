"""The web page: what it is made of, and that it asks no other host for anything."""

import re
from html.parser import HTMLParser
from pathlib import Path
from posixpath import normpath

import pytest
from fastapi.testclient import TestClient

import mrdist.service
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

TOKEN = "the-token-of-this-test"
PAGES = {"/": "Studio", "/train": "Train", "/models": "Models", "/datasets": "Datasets"}
STATIC = Path(mrdist.service.__file__).parent / "page" / "static"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())


class _Tags(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _client(tmp_path: Path, token: str | None = None) -> TestClient:
    app = create_app(Catalog.open(str(tmp_path / "catalog")), Settings(token=token))
    return TestClient(app, base_url="http://127.0.0.1", headers={"accept": "text/html"}, follow_redirects=False)


@pytest.mark.parametrize(("path", "title"), PAGES.items())
def test_page_names_itself_and_keeps_the_policy(tmp_path: Path, path: str, title: str) -> None:
    answer = _client(tmp_path).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<title>{title} · mrdist</title>" in answer.text
    tags = _Tags(answer.text).found
    current = [attributes for tag, attributes in tags if tag == "a" and "aria-current" in attributes]
    assert [attributes["href"] for attributes in current] == [path]
    for tag, attributes in tags:  # what the policy forbids would silently do nothing
        assert tag not in ("style", "iframe", "object", "base")
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, attributes
        assert tag != "script" or "src" in attributes
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
            assert not (attributes.get(name) or "/").startswith("//")


@pytest.mark.parametrize("path", PAGES)
def test_every_field_of_a_page_has_a_label(tmp_path: Path, path: str) -> None:
    tags = _Tags(_client(tmp_path).get(path).text).found
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        if tag == "select" or (tag == "input" and attributes.get("type") not in ("radio", "checkbox", "file")):
            assert attributes.get("id") in labelled or "aria-label" in attributes, attributes
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)


def test_files_are_served_and_name_only_each_other(tmp_path: Path) -> None:
    client = _client(tmp_path, TOKEN)  # they are for those who have yet to sign in, too
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for file in FILES:
        answer = client.get(f"/static/{file}")
        assert answer.status_code == 200, file
        assert answer.headers["content-type"].startswith(kinds[file.rpartition(".")[2]])
        assert answer.headers["cache-control"] == "no-cache"
        again = client.get(f"/static/{file}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        assert set(re.findall(r"https?://[\w.]+", answer.text)) <= {"http://www.w3.org"}, file  # SVG's namespace
        for name in re.findall(r"^import (?:.*from )?\"(.+)\";$", answer.text, re.MULTILINE):
            assert normpath(f"{file}/../{name}") in FILES, f"{file} imports {name}"


def test_pages_load_files_that_exist(tmp_path: Path) -> None:
    client = _client(tmp_path)
    loaded = {
        (attributes.get("src") or attributes.get("href") or "").removeprefix("/static/")
        for path in PAGES
        for tag, attributes in _Tags(client.get(path).text).found
        if tag in ("script", "link")
    }
    assert loaded <= set(FILES)
    assert {"js/studio.js", "js/train.js", "js/models.js", "js/datasets.js"} <= loaded


@pytest.mark.parametrize("path", ["nothing.js", "..%2f..%2fapp.py", "%2e%2e/%2e%2e/app.py", "", "css", "js/%00.js"])
def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    answer = _client(tmp_path).get(f"/static/{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(".")


def test_who_is_not_signed_in_comes_to_the_login(tmp_path: Path) -> None:
    client = _client(tmp_path, TOKEN)
    for path in PAGES:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Sign in" in client.get("/login").text
    assert 'id="sign-out"' not in client.get("/login").text
    assert client.post("/api/v1/session", json={"token": TOKEN}).status_code == 204
    page = client.get("/")
    assert 'id="sign-out"' in page.text
    assert page.headers["cache-control"] == "no-store"
    token = next(a["content"] for t, a in _Tags(page.text).found if t == "meta" and a.get("name") == "csrf-token")
    refused = client.delete("/api/v1/datasets/faces")
    assert (refused.status_code, "X-CSRF-Token" in refused.json()["detail"]) == (403, True)
    assert client.delete("/api/v1/datasets/faces", headers={"x-csrf-token": token or ""}).status_code == 404


def test_without_a_token_there_is_no_login(tmp_path: Path) -> None:
    answer = _client(tmp_path).get("/login")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_sources_are_listed_by_names_that_may_be_asked_for(tmp_path: Path) -> None:
    client = _client(tmp_path)
    assert client.get("/api/v1/sources").json()["sources"] == []
    sources = tmp_path / "catalog" / "sources"
    (sources / "london" / "neutral_front").mkdir(parents=True)
    (sources / "jaffe.zip").write_bytes(b"")
    (sources / ".hidden").mkdir()
    assert client.get("/api/v1/sources").json()["sources"] == ["jaffe.zip", "london"]
