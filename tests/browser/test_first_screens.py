"""What somebody came for is on the first screen, and no word is cut."""

import pytest
from commands import SECONDS

from browser.looking import settled

pytestmark = pytest.mark.browser

CUT = """selector => [...document.querySelectorAll(selector)]
  .filter((one) => one.scrollWidth > one.clientWidth || getComputedStyle(one).textOverflow === "ellipsis")
  .map((one) => one.innerText)"""


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_dataset_is_added_above_the_list(open_page, trained, size):
    page = open_page(trained.url, "/datasets", size)
    settled(page, "article img")
    fold = page.locator("#makers > summary")
    box = fold.bounding_box()
    assert box["y"] + box["height"] < page.locator("article").first.bounding_box()["y"] < page.viewport_size["height"]
    assert page.locator("#generate").is_hidden()
    fold.click()
    assert page.get_by_role("button", name="Make synthetic faces").is_visible()
    assert page.get_by_role("button", name="Import", exact=True).is_visible()


def test_who_wants_to_import_is_led_to_the_form(open_page, trained):
    page = open_page(trained.url, "/datasets#ingest")
    settled(page, "article img")
    page.get_by_role("button", name="Import", exact=True).wait_for(state="visible", timeout=1000 * SECONDS)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_names_beside_faces_are_whole(open_page, trained, size):
    page = open_page(trained.url, "/models", size)
    settled(page, "#gallery img")
    assert page.locator("#gallery .who").count() > 3
    assert page.evaluate(CUT, "#gallery .who, #scores td:first-child") == []


def test_scores_on_a_phone_are_beside_the_names(open_page, trained):
    page = open_page(trained.url, "/models?model=happy-3x3", "phone")
    settled(page, "#scores tbody td:nth-child(3):has-text('%')")
    box = page.locator("#scores tbody tr[aria-current] td:nth-child(3)").bounding_box()
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    assert page.locator("#scores tbody tr[aria-current] .how").inner_text().startswith("3 ")
