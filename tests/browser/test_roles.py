"""Pages show what the role of their user may do, and whose they are."""

import json
import urllib.request

import commands
import pytest

import mrdist
from browser.looking import AUDIT, PAGES, settled
from mrdist.service.tokens import add_line, make_token

pytestmark = pytest.mark.browser

CHANGES = "Delete|Stop|Resume|Start the training|Make synthetic faces|Import|Train on it"
MAY = {
    "read": set(),
    "train": {"Start the training", "Make synthetic faces", "Import", "Train on it"},
    "admin": {"Start the training", "Make synthetic faces", "Import", "Train on it", "Delete"},
}
BUTTONS = f"""() => [...document.querySelectorAll("button, a.button")].filter((one) => one.checkVisibility())
  .map((one) => one.textContent.trim()).filter((words) => /^({CHANGES})$/.test(words))"""


@pytest.fixture
def tokens(tmp_path):
    drawn = {}
    for role in MAY:
        drawn[role], line = make_token(f"{role}er", role)
        add_line(str(tmp_path / "tokens"), line)
    return drawn


def test_buttons_are_those_of_the_role(open_page, serve, tokens, tmp_path):
    faces = tmp_path / "catalog/datasets/faces.zarr"
    mrdist.generate(faces, images=12, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    service = serve(
        tmp_path / "catalog", "--workers", "0", "--tokens", str(tmp_path / "tokens"), "--max-requests", "1000"
    )
    known = {"authorization": f"Bearer {tokens['train']}", "content-type": "application/json"}
    options = {"images": "faces", "source": "neutral", "target": "happy"}
    body = json.dumps({"verb": "train", "name": "smile", "options": options}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{service.url}/api/v1/jobs", body, known)) as answer:
        job = json.load(answer)

    def is_done():
        with urllib.request.urlopen(
            urllib.request.Request(f"{service.url}/api/v1/jobs/{job['id']}", headers=known)
        ) as answer:
            return json.load(answer)["state"] == "done"

    commands.wait_until(is_done, "the training")
    for role, may in MAY.items():
        page = open_page(service.url, "/login")
        page.get_by_label("Token").fill(tokens[role])
        page.keyboard.press("Enter")
        page.wait_for_url(f"{service.url}/")
        seen = set()
        for path in PAGES:
            page.goto(service.url + path.replace("/datasets", "/datasets#makers"))  # with the forms
            settled(page)
            assert page.locator("#who").inner_text().split() == [f"{role}er", role]
            seen |= set(page.evaluate(BUTTONS))
            assert page.evaluate(AUDIT) == []
        assert seen == may
        if role == "read":
            page.goto(f"{service.url}/train")
            settled(page, "#jobs tr")
            assert "ask whoever runs the service" in page.locator("#plan").inner_text()
            assert "trainer" in page.locator("#jobs").inner_text()
            page.goto(f"{service.url}/models?model=smile")
            settled(page, "#main dl")
            assert "trainer" in page.locator("#main").inner_text()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
