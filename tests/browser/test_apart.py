"""Only models of the same people are compared; of mappings that were trained at once, each is a model."""

import pytest

import mrdist
from browser.looking import serving, settled, wait_until

pytestmark = pytest.mark.browser

NAMES = "[...document.querySelectorAll('#scores tbody a')].map(a => a.innerText).sort().join()"


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A service with models of two datasets of other sizes, one of them with mappings that were trained at once."""
    catalog = tmp_path_factory.mktemp("several") / "catalog"
    work = {"workers": 0, "progress": False}
    for name, size in {"small": 32, "large": 48}.items():
        images = str(catalog / "datasets" / f"{name}.zarr")
        mrdist.generate(images, images=20, size=size, labels=["neutral", "happy", "sad"], seed=size, **work)
        mrdist.train(images, str(catalog / "models" / f"of-{name}.zarr"), source="neutral", target="happy", **work)
    mrdist.train_mappings(images, str(catalog / "models" / "all.zarr"), source="neutral", both_ways=True, **work)
    with serving(catalog, "--workers", "0") as service:
        yield service


def test_models_of_other_people_stand_apart(open_page, several):
    page = open_page(several.url, "/models?model=of-small")
    settled(page, "#scores tbody a")
    assert page.evaluate(NAMES) == "of-small"
    assert "of the dataset small" in page.locator("#scores-what").inner_text()
    assert "all:neutral-happy (large), of-large (large)" in page.locator("#apart").inner_text()
    page.get_by_label("People of").select_option("large")
    wait_until(page, f"{NAMES} === 'all:neutral-happy,of-large'")
    assert "of-small (small)" in page.locator("#apart").inner_text()
    page.locator("#apart a").click()
    wait_until(page, f"{NAMES} === 'of-small'")
    settled(page)


def test_no_picture_of_the_same_people_is_broken(open_page, several):
    for name in ("of-small", "of-large"):
        page = open_page(several.url, f"/models?model={name}")
        settled(page, "#gallery img")
        page.eval_on_selector_all("#gallery img", "all => all.forEach(one => (one.loading = 'eager'))")
        wait_until(page, "[...document.querySelectorAll('#gallery img')].every(i => i.naturalWidth > 0)")
        assert page.locator("#gallery span.face").count() == 0


def test_mappings_trained_at_once_are_found_by_the_name_of_their_job(open_page, several):
    page = open_page(several.url, "/models?model=all")
    settled(page, "#detail-title:has-text('all:neutral-happy')")
    assert page.locator("#mapping option").count() == 4
    page = open_page(several.url, "/?model=all")
    settled(page, "#readout div")
    assert page.locator("#models input:checked").get_attribute("value") == "all:neutral-happy"
    assert page.locator("#models input").count() == 6
