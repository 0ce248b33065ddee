"""From nothing to a picture, and what one sees on the way."""

import re

import numpy as np
import pytest
from PIL import Image

from browser.looking import changed, pixels, settled, wait_until

pytestmark = pytest.mark.browser

FIELDS = ("Receptive field", "Folds", "Components")
SHARE = "Number(document.querySelector('#watch-bar').getAttribute('aria-valuenow'))"
SHARES = """() => {
  const shares = [];
  const bar = document.querySelector("#watch-bar");
  new MutationObserver(() => shares.push(Number(bar.getAttribute("aria-valuenow")))).observe(bar, { attributes: true });
  return shares;
}"""


def choose_field(page, side):
    page.locator(f"label:has(input[name=receptive_field][value='{side}'])").click()


def test_a_newcomer_comes_from_nothing_to_a_picture(open_page, serve, tmp_path):
    service = serve(tmp_path / "catalog", "--workers", "2")
    page = open_page(service.url)
    page.get_by_role("button", name="Make synthetic faces").click()
    page.wait_for_url("**/train")

    settled(page, "#pairs img")
    page.get_by_label("To", exact=True).select_option("surprised")
    choose_field(page, 5)
    page.get_by_text("More options").click()
    page.get_by_label("Block, rows and columns").fill("16, 16")
    page.wait_for_selector("#plan:not(.stale) dd:text-is('64')")
    assert page.locator("#plan dt").all_inner_texts()[:3] == ["time", "memory of a worker", "data to read"]
    assert page.get_by_label("Name of the model").input_value() == "surprised-5x5"
    shares = page.evaluate_handle(SHARES)
    page.get_by_role("button", name="Start the training").click()

    page.wait_for_selector("#watch-state.done")
    assert page.get_by_role("heading", level=1).inner_text() == "surprised-5x5"
    seen = shares.json_value()
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert page.locator("#watch-blocks").inner_text() == "64 of 64 blocks"
    page.wait_for_selector("#watch-scores:has-text('dB')")
    colors = np.unique(pixels(page, "#blocks").reshape(-1, 4), axis=0)
    assert len(colors) > 1000  # a face, not plain blocks

    page.get_by_role("link", name="Look inside").click()
    settled(page, ".explorer .weights")
    page.get_by_role("link", name="Try it in the Studio").click()
    settled(page, "#readout div")
    before = pixels(page, "#view .after")
    page.get_by_label("Radius").fill("3")
    changed(page, "#view .after", before)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the picture").click()
    assert download.value.suggested_filename.endswith("-surprised.png")
    with Image.open(download.value.path()) as saved:
        assert saved.size == (128, 128)


def test_blocks_come_up_while_one_watches_and_a_stopped_job_goes_on(open_page, trained):
    page = open_page(trained.url, "/train")
    settled(page, "#pairs img")
    page.get_by_label("Method").select_option("l1")  # which takes long
    page.get_by_text("More options").click()
    page.get_by_label("Block, rows and columns").fill("12, 12")
    page.get_by_role("button", name="Start the training").click()
    wait_until(page, f"{SHARE} > 0")
    page.wait_for_selector("#watch-map:visible")
    seen = pixels(page, "#blocks")
    share = page.evaluate(SHARE)
    wait_until(page, f"{SHARE} > {share}")
    changed(page, "#blocks", seen)
    assert page.locator("#watch-figures dt").all_inner_texts()[:2] == ["images a second", "time left"]
    assert page.locator("#watch-actions a:has-text('dashboard')").count() == 0  # the service's own workers have none
    page.locator("#watch-actions").get_by_role("button", name=re.compile("^Stop")).click()
    page.wait_for_selector("#watch-state.cancelled")
    share = page.evaluate(SHARE)
    assert 0 < share < 100
    page.locator("#watch-actions").get_by_role("button", name=re.compile("^Resume")).click()
    wait_until(page, f"{SHARE} > {share}")
    page.locator("#watch-actions").get_by_role("button", name=re.compile("^Stop")).click()
    page.wait_for_selector("#watch-state.cancelled")
    page.locator("#watch-actions").get_by_role("button", name=re.compile("^Delete")).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the job").click()
    page.wait_for_selector("#new:visible")
    page.wait_for_selector("#jobs :text('happy-l1')", state="detached")
    settled(page)


def test_impossible_options_are_told_before_the_button_is_pressed(open_page, trained):
    page = open_page(trained.url, "/train", refusals=(422,))
    settled(page, "#pairs img")
    page.get_by_text("More options").click()
    page.get_by_label("Dilation").fill("90")
    page.wait_for_selector("#plan:not(.stale) #plan-body .notice")
    sentence = page.locator("#plan-body .notice").inner_text()
    assert "90" in sentence
    assert sentence.endswith(".")
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_selector("#form-error:visible")
    assert page.locator("#form-error").inner_text() == sentence


def test_methods_show_the_options_they_have(open_page, trained):
    page = open_page(trained.url, "/train")
    settled(page, "#pairs img")
    page.get_by_text("More options").click()
    field, folds, components = (page.get_by_label(name, exact=True) for name in FIELDS)
    assert (field.is_visible(), folds.is_visible(), components.is_visible()) == (True, False, False)
    page.locator("label:has(input[name=alpha-how][value=cv])").click()
    assert folds.is_visible()
    assert page.get_by_label("Name of the model").input_value() == "happy-3x3-cv"
    page.get_by_label("Method").select_option("pca")
    assert (field.is_visible(), folds.is_visible(), components.is_visible()) == (False, False, True)
    assert page.get_by_label("Name of the model").input_value() == "happy-pca"
    settled(page)
