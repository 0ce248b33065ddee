"""Models beside each other, and one of them looked into."""

import shutil
import zipfile

import pytest

import mrdist
from browser.looking import settled, wait_until

pytestmark = pytest.mark.browser

SCORED = """document.querySelectorAll("#scores tbody tr").length === 3
  && [...document.querySelectorAll("#scores tbody td:nth-child(5)")].every(cell => Number(cell.innerText) > 0)"""

ARRIVED = "[...document.querySelectorAll('#gallery img')].every(i => i.naturalWidth === 96)"


@pytest.fixture
def models(open_page, trained):
    page = open_page(trained.url, "/models?model=happy-3x3")
    settled(page, ".explorer .weights")
    return page


def test_scores_are_sorted_by_any_column(models):
    wait_until(models, SCORED)
    names = "[...document.querySelectorAll('#scores tbody a')].map(a => a.innerText)"
    column = "[...document.querySelectorAll('#scores tbody td:nth-child(5)')].map(td => Number(td.innerText))"
    models.get_by_role("button", name="PSNR").click()
    assert models.evaluate(column) == sorted(models.evaluate(column), reverse=True)
    models.get_by_role("button", name="PSNR").press("Enter")
    assert models.evaluate(column) == sorted(models.evaluate(column))
    assert models.locator("th[aria-sort=ascending]").inner_text().startswith("PSNR")
    models.get_by_role("button", name="Model", exact=True).click()
    assert models.evaluate(names) == ["happy-3x3", "happy-5x5", "happy-l2"]
    models.get_by_role("link", name="happy-5x5").click()
    models.wait_for_selector("#detail-title:has-text('happy-5x5')")
    assert models.url.endswith("model=happy-5x5")
    settled(models)


def test_another_mapping_has_its_own_models(models):
    models.get_by_label("Mapping").select_option(index=1)
    models.wait_for_selector("#detail-title:has-text('surprised-3x3')")
    assert models.locator("#scores tbody tr").count() == 1
    settled(models)


def test_faces_of_the_same_people_stand_in_columns(models):
    people = int(models.eval_on_selector("#gallery", "g => g.style.getPropertyValue('--people')"))
    assert models.locator("#gallery img").count() == people * (2 + 3)
    models.eval_on_selector_all("#gallery img", "all => all.forEach(one => (one.loading = 'eager'))")
    wait_until(models, ARRIVED)


def test_the_explorer_shows_the_weights_of_the_pixel_one_is_at(models, trained):
    look = models.locator(".explorer .look")
    look.scroll_into_view_if_needed()
    box = look.bounding_box()
    models.mouse.move(box["x"] + box["width"] * 40.5 / 96, box["y"] + box["height"] * 65.5 / 96)
    models.wait_for_selector(".weights[aria-label^='Weights of pixel 40, 65: 9 of them']")
    weights = mrdist.open_weights(str(trained.catalog / "models" / "happy-3x3.zarr")).to_xarray()
    label = models.locator(".explorer .weights").get_attribute("aria-label")
    low, high = (float(word) for word in label.split("from ")[1].split(" to "))
    assert low == pytest.approx(float(weights.coef[:, 65, 40].min()), rel=5e-3)
    assert high == pytest.approx(float(weights.coef[:, 65, 40].max()), rel=5e-3)
    look.focus()
    models.keyboard.press("ArrowRight")
    models.keyboard.press("Shift+ArrowDown")
    models.wait_for_selector("figcaption:has-text('Pixel 41, 73')")
    wait_until(models, "document.querySelector('#spoken').innerText.startsWith('Weights of pixel 41, 73')")
    models.get_by_role("link", name="happy-5x5").click()
    models.wait_for_selector(".weights[aria-label*=': 25 of them']")
    before = models.locator(".explorer .weights").get_attribute("aria-label")
    models.locator("label:has-text('blue')").click()
    wait_until(models, f"document.querySelector('.weights').getAttribute('aria-label') !== {before!r}")


def test_a_method_without_weights_of_pixels_says_so(models):
    models.get_by_role("link", name="happy-l2").click()
    models.wait_for_selector("#detail :text('no pixel has weights of its own')")
    settled(models)


def test_a_model_is_deleted_only_when_one_means_it(open_page, trained):
    copy = trained.catalog / "models" / "surprised-copy.zarr"
    shutil.copytree(trained.catalog / "models" / "surprised-3x3.zarr", copy)
    page = open_page(trained.url, "/models?model=surprised-copy")
    settled(page, "#detail-title:has-text('surprised-copy')")
    delete = page.locator("#detail").get_by_role("button", name="Delete")
    delete.click()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert copy.exists()
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the model").click()
    page.wait_for_selector("#messages :text('surprised-copy is deleted.')")
    assert not copy.exists()
    page.wait_for_selector("#scores :text('surprised-copy')", state="detached")
    settled(page, "#scores a")


def test_a_model_is_downloaded_as_a_store_and_as_a_matrix(models):
    with models.expect_download() as download:
        models.get_by_role("link", name="Download store").click()
    with zipfile.ZipFile(download.value.path()) as store:
        assert any(name.endswith("zarr.json") for name in store.namelist())
    with models.expect_download() as download:
        models.get_by_role("link", name="Download sparse matrix").click()
    assert download.value.suggested_filename == "happy-3x3.npz"
