"""Own photographs: a folder or a zip is sent, understood, and imported."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from browser.looking import AUDIT, settled

pytestmark = pytest.mark.browser


@pytest.fixture
def photographs(tmp_path):
    """A folder with two expressions of ten people, one missing, and what is no photograph."""
    folder = tmp_path / "Zoë's people"
    for label in ("neutral", "happy"):
        (folder / label).mkdir(parents=True)
        for person in range(10 if label == "neutral" else 9):
            pixels = np.random.default_rng(person).integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"p{person}.png")
    (folder / "notes.doc").write_text("no photograph")
    return folder


def packed(folder, how):
    """The folder as a zip, with a path that leads out of it."""
    archive = folder.parent / "people.zip"
    with zipfile.ZipFile(archive, "w", how) as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, f"{folder.name}/{path.relative_to(folder)}")
        file.writestr("../../escaped.png", b"x")
    return archive


@pytest.mark.parametrize("how", ["folder", zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_photographs_are_sent_and_understood(open_page, serve, tmp_path, photographs, how):
    service = serve(tmp_path / "catalog", "--workers", "0")
    page = open_page(service.url, "/datasets", refusals=(422,))
    settled(page, "#own-limits:has-text('Up to')")
    assert str(tmp_path / "catalog") in page.locator("#ingest").inner_text()
    if how == "folder":
        page.locator("#own-folder").set_input_files(photographs)
    else:
        page.locator("#own-zip").set_input_files(packed(photographs, how))
    page.wait_for_selector("#understood:has-text('9 happy · 10 neutral')")
    page.get_by_text("left out or not whole").click()
    told = page.locator("#understood").inner_text()
    assert "notes.doc: no photograph" in told
    assert "the person has no photograph with this label" in told
    assert page.evaluate(AUDIT) == []
    assert page.get_by_label("Source", exact=True).input_value() == ("zoe-s-people" if how == "folder" else "people")
    sources = tmp_path / "catalog" / "sources"
    assert len(list(sources.rglob("*.png"))) == 19
    assert not list(tmp_path.glob("escaped*"))
    settled(page)
