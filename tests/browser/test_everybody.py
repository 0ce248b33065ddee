"""Pages are for everybody: without a mouse, without eyes, on a phone, in the dark, behind a token."""

import re

import pytest
from services import token_file

from browser.looking import AUDIT, FOCUS, PAGES, settled

pytestmark = pytest.mark.browser

REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0 && !one.matches(".skip, [type=radio]"))
  .map((one) => [[...document.querySelectorAll("*")].indexOf(one), one.outerHTML.slice(0, 120)])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_keep_what_they_owe(open_page, trained, path, size, scheme):
    page = open_page(trained.url, path, size, scheme)
    settled(page, "img.face")
    assert page.evaluate(AUDIT) == []


@pytest.mark.parametrize("path", PAGES)
def test_empty_pages_lead_to_the_first_faces(open_page, serve, tmp_path, path):
    service = serve(tmp_path / "catalog", "--workers", "1")
    page = open_page(service.url, path, "phone")
    settled(page, "button:has-text('Make synthetic faces')")
    assert page.get_by_role("button", name="Make synthetic faces").first.is_visible()
    assert page.evaluate(AUDIT) == []


def test_the_audit_finds_what_is_wrong(open_page, trained):
    page = open_page(trained.url, "/train")
    settled(page, "img.face")
    page.evaluate(
        """() => {
          document.documentElement.style.setProperty("--soft", "#aaa");
          document.querySelector("label[for=name]").remove();
          document.querySelector("main").append(document.createElement("img"), document.createElement("button"));
          document.querySelector("#form").id = "plan";
          document.querySelector("#start").style.width = "2000px";
        }"""
    )
    found = page.evaluate(AUDIT)
    for flaw in ("input#name: has no name", "img: has no alt", "button: has no name", "contrast", "twice", "too wide"):
        assert any(flaw in each for each in found), flaw


@pytest.mark.parametrize("path", PAGES)
def test_the_keyboard_comes_everywhere_and_is_seen(open_page, trained, path):
    page = open_page(trained.url, path)
    settled(page, "img.face")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        here = page.evaluate(FOCUS)
        if here is None or here[0] in reached:
            break
        assert here[1], f"the focus is not seen on {here[2]}"
        reached.add(here[0])
    assert [html for index, html in page.evaluate(REACHABLE) if index not in reached] == []


def test_light_and_dark_are_chosen_and_kept(open_page, trained):
    page = open_page(trained.url, "/datasets", scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch to dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    settled(page)
    page.goto(f"{trained.url}/train")
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Switch to light").click()
    assert page.evaluate("localStorage.getItem('theme')") is None  # what the system says needs no keeping
    assert page.evaluate(ground) == light
    settled(page)


def test_nothing_moves_for_those_who_ask_for_rest(open_page, trained):
    page = open_page(trained.url, "/datasets", reduced_motion="reduce")
    settled(page, "img.face")
    page.locator("article").get_by_role("button", name=re.compile("^Delete")).first.click()
    assert page.evaluate("document.getAnimations().length") == 0


def test_who_has_the_token_signs_in_and_out(open_page, serve, tmp_path):
    options = ("--workers", "1", "--token-file", str(token_file(tmp_path, "the-token-of-this-test")))
    service = serve(tmp_path / "catalog", *options)
    page = open_page(service.url, "/train", refusals=(401,))
    page.wait_for_url("**/login*")
    page.get_by_label("Token").fill("another-token-of-this-test")
    page.keyboard.press("Enter")
    page.wait_for_selector("#login-error:visible")
    assert page.evaluate(AUDIT) == []
    page.get_by_label("Token").fill("the-token-of-this-test")
    page.keyboard.press("Enter")
    settled(page, "button:has-text('Make synthetic faces')")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto(f"{service.url}/models")
    page.wait_for_url("**/login")
