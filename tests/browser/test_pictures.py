"""Every page, empty and full, on desktop and phone, light and dark: what it owes to everybody, and pictures to look at.

``MRDIST_PICTURES=FOLDER pytest -m browser tests/browser/test_pictures.py`` keeps the pictures.
"""

import json
import os
import re
import urllib.request
from pathlib import Path

import pytest
from services import token_file

from browser.full_catalogue import fill
from browser.looking import AUDIT, PAGES, serving, settled, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.long]

LOOKS = [(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")]
LONG = "a-name-as-long-as-the-catalogue-takes-names-of-its-models-63"
SHOTS = {  # name -> the page, what has to be there, and what is done with it
    "studio": ("/?model=mr-of-faces", "#readout div", None),
    "studio-moved": ("/?model=morph-of-faces", "#readout div", None),
    "studio-no-field": ("/?model=l2-of-gray", "#readout div", None),
    "studio-photograph": ("/?model=mr-of-faces", "#readout div", "give"),
    "studio-map": ("/?model=mr-of-faces", "#readout div", "map"),
    "train": ("/train", "#pairs img", None),
    "train-options": ("/train", "#pairs img", "options"),
    "job-done": ("/train", "tr:has(.done) a.name", "open"),
    "job-failed": ("/train", "tr:has(.failed) a.name", "open"),
    "job-running": ("/train", "tr:has(.running) a.name", "open"),
    "jobs-none": ("/train", "#jobs tr", "search"),
    "models": ("/models?model=mr-of-faces", "#gallery img", None),
    "models-found": ("/models?model=mr-of-faces", "#gallery img", "find"),
    "models-apart": ("/models?model=mr-of-gray", "#gallery img", None),
    "models-no-weights": ("/models?model=morph-of-faces", "#gallery img", None),
    "models-long-name": (f"/models?model={LONG}", "#gallery img", None),
    "comparison": ("/models?comparison=methods", "#comparison-table td", None),
    "datasets": ("/datasets", "img.face", None),
    "datasets-options": ("/datasets", "img.face", "import"),
    "question": ("/datasets", "img.face", "delete"),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A service whose catalogue is full, with a job that runs and one that waits."""
    folder = tmp_path_factory.mktemp("lab") / "catalog"
    fill(folder)
    with serving(folder, "--workers", "0") as service:
        busy(service.url)
        yield service


def busy(url):
    """Submit a job that takes long, and one that waits for its turn."""
    for name in ("a-long-drawing", "after-it"):
        options = {"images": 20_000, "size": 256, "labels": ["neutral", "happy"]}
        body = json.dumps({"verb": "generate", "name": name, "options": options}).encode()
        headers = {"content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/jobs", body, headers)).close()


def act(page, deed, portrait):
    """Do what a picture shows."""
    if deed == "give":
        page.locator("#photograph").set_input_files(portrait)
        page.wait_for_selector("#stage:not(.busy)")
    elif deed == "map":
        page.get_by_label("Show the importance map").check()
    elif deed == "options":
        page.locator("#form summary").click()
        page.get_by_label("Method").select_option("kernel")
    elif deed == "open":
        page.locator("#watch summary").first.wait_for(state="attached")
    elif deed == "search":
        page.locator("#find-job").fill("nothing is like this")
        page.wait_for_selector("#no-jobs:visible")
    elif deed == "find":
        page.locator("#find").fill("gray ridge")
        page.wait_for_selector("#nothing:visible")
        assert "kernel-of-gray (neutral → happy, gray)" in page.locator("#apart").inner_text()
    elif deed == "import":
        page.locator("#makers > summary").click()
        page.locator("#i-source").fill("london")
        page.locator("#i-source").dispatch_event("change")
        page.wait_for_selector("#understood dd")
        page.locator("#ingest summary").last.click()
    elif deed == "delete":
        page.locator("article").get_by_role("button", name=re.compile("^Delete")).first.click()


def photograph(page, name, size, scheme):
    """Look at all of a page, and keep it where somebody wants to look too."""
    settled(page)
    page.eval_on_selector_all("img[loading=lazy]", "all => all.forEach(one => (one.loading = 'eager'))")
    wait_until(page, "[...document.images].every(one => one.complete)")
    flaws = page.evaluate(AUDIT)
    if folder := os.environ.get("MRDIST_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}-{size}-{scheme}.png", full_page=True)
    assert flaws == []


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
@pytest.mark.parametrize("name", SHOTS)
def test_a_full_catalogue(open_page, lab, portrait, name, size, scheme):
    path, there, deed = SHOTS[name]
    page = open_page(lab.url, path, size, scheme)
    settled(page, there)
    if deed == "open":
        page.locator(there).first.click()
        page.wait_for_selector("#watch:visible")
        page.locator("#watch-log summary").click()
        page.wait_for_selector("#log li")
    else:
        act(page, deed, portrait[0])
    photograph(page, name, size, scheme)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
@pytest.mark.parametrize("path", PAGES)
def test_an_empty_catalogue(open_page, serve, tmp_path, path, size, scheme):
    page = open_page(serve(tmp_path / "catalog", "--workers", "0").url, path, size, scheme)
    settled(page, "button:has-text('Make synthetic faces')")
    photograph(page, f"empty-{path.strip('/') or 'studio'}", size, scheme)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_way_in(open_page, serve, tmp_path, size, scheme):
    token = token_file(tmp_path, "the-token-of-this-test")
    page = open_page(serve(tmp_path / "catalog", "--token-file", str(token)).url, "/", size, scheme, refusals=(401,))
    page.wait_for_url("**/login*")
    page.get_by_label("Token").fill("another-token-of-this-test")
    page.keyboard.press("Enter")
    page.wait_for_selector("#login-error:visible")
    photograph(page, "login", size, scheme)
