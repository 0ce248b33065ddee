"""The form of trainings has every option of every method, as the service describes it."""

import pytest

from browser.looking import settled

pytestmark = pytest.mark.browser

VALUES = {"gamma": "0.5", "block": "16, 16", "max_memory": "600MiB"}


@pytest.fixture
def form(open_page, trained):
    page = open_page(trained.url, "/train", refusals=(422,))
    settled(page, "#pairs img")
    page.get_by_text("More options").click()
    return page


def test_every_option_of_every_method_is_in_the_form(form):
    methods = form.evaluate("fetch('/api/v1/methods').then((answer) => answer.json())")["methods"]
    assert form.locator("#method option").evaluate_all("all => all.map((one) => one.value)") == [
        method["name"] for method in methods
    ]
    for method in methods:
        form.get_by_label("Method").select_option(method["name"])
        assert form.locator("#method-hint").inner_text() == method["help"]
        searched = [option["name"] for option in method["options"] if option["cv"]]
        for name in searched:
            form.locator(f"label:has(input[name={name}-how][value=cv])").click()
        shown = form.locator("#prominent > .field:visible, #more > .field:visible")
        labels = [each.split("\n")[0] for each in shown.all_inner_texts()]
        named = sorted(method["options"], key=lambda option: not option["prominent"])
        assert labels == [option["label"] for option in named]
        for name in searched:
            form.locator(f"label:has(input[name={name}-how][value=fixed])").click()
        for option in method["options"]:
            look_at(form, option)
        assert not searched or form.get_by_label("Folds", exact=True).is_hidden()


def look_at(form, option):
    """Look at the default, the limits and the choices of a field."""
    field = form.locator(f"#option-{option['name']}")
    if option["search"]:
        return
    if option["choices"] or option["suggested"]:
        if field.count():
            offered = field.locator("option").evaluate_all("all => all.map((one) => one.value)")
            taken = field.input_value()
        else:
            radios = form.locator(f"input[type=radio][name={option['name']}]:enabled")
            offered = radios.evaluate_all("all => all.map((one) => one.value)")
            taken = radios.evaluate_all("all => all.find((one) => one.checked).value")
        values = [choice["value"] for choice in option["choices"]] or option["suggested"]
        if option["default"] is None and option["usual"] not in values:  # which the service decides
            values, option = [option["usual"], *values], {**option, "default": option["usual"]}
        assert offered == [str(value).lower() for value in values]
        assert taken == str(option["default"]).lower()
        return
    assert field.get_attribute("placeholder") == option["usual"]
    if option["kind"] in ("integer", "number") and option["single"]:
        least = option["minimum"] if option["exclusive_minimum"] is None else option["exclusive_minimum"]
        assert float(field.get_attribute("min")) == least
        assert option["maximum"] is None or float(field.get_attribute("max")) == option["maximum"]


def test_what_is_given_is_asked_for(form):
    form.get_by_label("Method").select_option("kernel")
    form.locator("label:has(input[name=color][value=separate])").click()
    form.locator("#option-penalize_intercept").select_option("false")
    for name in ("gamma", "block", "max_memory"):
        form.locator(f"#option-{name}").fill(VALUES[name])
    with form.expect_request(lambda request: request.url.endswith("/plans") and "600MiB" in request.post_data) as asked:
        form.locator("#option-alpha").fill("0.25")
    options = asked.value.post_data_json["options"]
    assert {name: options[name] for name in options if name not in ("images", "source", "target")} == {
        "method": "kernel",
        "color": "separate",
        "penalize_intercept": False,
        "gamma": 0.5,
        "alpha": 0.25,
        "block": [16, 16],
        "max_memory": "600MiB",
    }
    settled(form)


def test_a_search_is_asked_for_with_its_options(form):
    form.get_by_label("Method").select_option("l0")
    form.locator("label:has(input[name=nonzeros-how][value=cv])").click()
    form.locator("#option-rule").select_option("1se")
    with form.expect_request(lambda request: request.url.endswith("/plans") and "folds" in request.post_data) as asked:
        form.get_by_label("Folds", exact=True).fill("3")
    options = asked.value.post_data_json["options"]
    assert {name: options[name] for name in options if name not in ("images", "source", "target")} == {
        "method": "l0",
        "nonzeros": "cv",
        "rule": "1se",
        "folds": 3,
    }
    settled(form)
