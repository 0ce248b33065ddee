"""The page knows no method by itself: what the service tells of one is what it shows."""

import json

import pytest

from browser.looking import settled

pytestmark = pytest.mark.browser

NEW = {"name": "another", "label": "Another regression", "phrase": "another regression", "help": "It is new."}
OPTION = {
    "name": "strictness",
    "label": "Strictness",
    "help": "How strict it is.",
    "kind": "number",
    "default": 0.25,
    "usual": "0.25",
    "minimum": 0,
    "exclusive_minimum": None,
    "maximum": 7,
    "odd": False,
    "choices": [],
    "single": True,
    "several": False,
    "cv": False,
    "search": False,
    "prominent": True,
    "suggested": [],
}


def told_otherwise(page, path, change):
    """Let the page get an answer of the service that ``change`` has changed."""

    def answer(route):
        content = route.fetch().json()
        change(content)
        route.fulfill(json=content)

    page.route(f"**/api/v1/{path}", answer)


def add(content):
    known = [option for option in content["methods"][-1]["options"] if option["name"] != "receptive_field"]
    content["methods"].append({**NEW, "options": [OPTION, *known]})


def test_the_form_is_made_of_the_answer(open_page, trained):
    page = open_page(trained.url, "/datasets", refusals=(422,))
    told_otherwise(page, "methods", add)
    page.goto(f"{trained.url}/train")
    settled(page, "#pairs img")
    page.get_by_label("Method").select_option("another")
    assert page.locator("#method option:checked").inner_text() == NEW["label"]
    assert page.locator("#method-hint").inner_text() == NEW["help"]
    field = page.locator("#prominent").get_by_label("Strictness")
    limits = [field.get_attribute(name) for name in ("placeholder", "min", "max")]
    assert limits == ["0.25", "0", "7"]
    with page.expect_request(lambda each: each.url.endswith("/plans") and "strictness" in each.post_data) as asked:
        field.fill("3.5")
    options = asked.value.post_data_json["options"]
    assert (options["method"], options["strictness"]) == ("another", 3.5)
    settled(page)
    page.get_by_label("Method").select_option(index=0)
    assert field.is_hidden()
    settled(page)


@pytest.mark.parametrize("layout", ["masked", "sparse", "global"])
def test_a_model_of_a_new_method_is_shown_by_its_label_and_layout(open_page, trained, layout):
    def change(content):
        for model in content.get("models", [content]):
            if model["name"] == "happy-5x5":
                model |= {"method": "another", "layout": layout}

    page = open_page(trained.url, "/datasets")
    told_otherwise(page, "methods", add)
    told_otherwise(page, "models", change)
    page.goto(f"{trained.url}/models?model=happy-5x5")
    settled(page, "#detail-title:has-text('happy-5x5')")
    row = page.locator("#scores tr", has_text="happy-5x5")
    assert row.locator("td").nth(1).inner_text() == "another regression"
    assert page.locator(".who[data-model=happy-5x5] small").inner_text() == "another regression"
    assert page.locator("#detail").get_by_text("All weights, tap by tap").count() == (layout == "masked")
    assert "false" not in page.locator("#detail").inner_text()
    assert page.locator("#detail .map").count() == (2 if layout == "masked" else 1)
    assert page.get_by_role("link", name="Download sparse matrix").count() == (layout != "global")
    assert page.locator(".explorer .weights").count() == (layout != "global")
    assert page.locator("#detail").get_by_text("In another regression no pixel has weights").count() == (
        layout == "global"
    )
    page.goto(f"{trained.url}/?model=happy-5x5")
    settled(page, "#readout div")
    assert page.locator("#models label", has_text="happy-5x5").locator("small").inner_text() == (
        "neutral → happy, another regression · any photograph"
    )
    assert page.locator("#refinement-none").is_hidden() == (layout == "masked")
    settled(page)


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("train", {"target": "happy"}, "neutral → happy, 3 x 3"),
        ("train", {"target": "happy", "receptive_field": 5, "dilation": 2}, "neutral → happy, 5 x 5, dilation 2"),
        ("train", {"target": "happy", "alpha": "cv", "receptive_field": [1, 3]}, "neutral → happy, 1 x 1 or 3 x 3"),
        ("train", {"target": "happy", "method": "another"}, "neutral → happy, another regression"),
        ("train", {"mappings": "all"}, "neutral → all and back, 3 x 3"),
        ("compare", {"target": "happy", "methods": ["another"]}, "neutral → happy, compare"),
        ("generate", {"images": 4}, "4 synthetic people"),
    ],
)
def test_a_job_is_told_in_the_words_of_its_method(open_page, trained, verb, options, said):
    job = {
        "id": "20261125t093000123456-0f3a9c2e",
        "verb": verb,
        "name": "it",
        "options": options if verb == "generate" else {"images": "faces", "source": "neutral", **options},
        "state": "done",
        "submitted": "2026-11-25T09:30:00Z",
        "tags": [],
        "warnings": [],
    }
    page = open_page(trained.url, "/datasets")
    told_otherwise(page, "methods", add)
    page.route("**/api/v1/jobs?*", lambda route: route.fulfill(body=json.dumps({"jobs": [job], "next": None})))
    page.goto(f"{trained.url}/train")
    settled(page, "#jobs tr")
    assert page.locator("#jobs tr td").nth(1).inner_text() == said.replace(" x ", " \N{MULTIPLICATION SIGN} ")
    settled(page, "#pairs img")
