"""Studio turns the dials of models that have some, at once, for everybody; and the form of imports has all options."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import mrdist
from browser.looking import AUDIT, changed, pixels, serving, settled, wait_until
from mrdist.methods.registry import METHODS
from mrdist.pipeline.ingesting.options import INGEST

pytestmark = pytest.mark.browser

USUAL = next(iter(METHODS))
IDLE = "!document.querySelector('#stage').classList.contains('busy')"


@pytest.fixture(scope="session")
def moved(tmp_path_factory):
    """A service with a model that has dials, whose faces have landmarks that no detector finds, and one without."""
    catalog = tmp_path_factory.mktemp("moved") / "catalog"
    faces = str(catalog / "datasets" / "faces.zarr")
    mrdist.generate(faces, images=20, size=64, labels=["neutral", "happy"], workers=0, progress=False)
    dialled = next(name for name, method in METHODS.items() if method.has_dials)
    for name, method in (("moving", dialled), ("plain", USUAL)):
        options = {"source": "neutral", "target": "happy", "method": method, "workers": 0, "progress": False}
        mrdist.train(faces, str(catalog / "models" / f"{name}.zarr"), **options)
    with serving(catalog, "--workers", "1") as service:
        yield SimpleNamespace(url=service.url)


@pytest.fixture
def studio(open_page, moved):
    page = open_page(moved.url, "/?model=moving")
    settled(page, "#readout div")
    return page


def asked(request):
    """Return the fields of a form that the page sends, of a request that is routed."""
    body = request.post_data_buffer.decode("latin1")
    return dict(re.findall(r'name="(\w+)"\r\n\r\n([^\r]*)\r\n', body))


def slider(page):
    return page.get_by_role("slider", name="Strength")


def test_dials_are_there_for_models_that_have_some(studio):
    assert (slider(studio).get_attribute("min"), slider(studio).get_attribute("max")) == ("0", "1.5")
    assert slider(studio).input_value() == "1"
    assert [label.inner_text() for label in studio.locator("#dials .choices label").all()] == ["Auto", "Open", "Closed"]
    assert studio.get_by_role("radio", name="Auto").is_checked()
    assert studio.locator("#refinement").is_hidden()
    studio.get_by_label("plain").check()
    studio.wait_for_selector("#refinement:visible")
    assert studio.locator("#dials").is_hidden()
    settled(studio)


def test_keys_turn_them_and_a_screen_reader_hears_it(studio):
    slider(studio).focus()
    studio.keyboard.press("End")
    wait_until(studio, "document.querySelector('#spoken').textContent.endsWith('strength 1.5, mouth auto, ready.')")
    assert slider(studio).get_attribute("aria-valuetext") == "1.5"
    settled(studio)
    studio.keyboard.press("Tab")
    assert studio.evaluate("document.activeElement.value") == "auto"
    before = pixels(studio, "#view .after")
    studio.keyboard.press("ArrowLeft")  # around to the last one
    changed(studio, "#view .after", before)
    wait_until(studio, "document.querySelector('#spoken').textContent.endsWith('strength 1.5, mouth closed, ready.')")
    slider(studio).focus()
    studio.keyboard.press("Home")
    wait_until(studio, "document.querySelector('#spoken').textContent.includes('strength 0, ')")
    given, made = (pixels(studio, f"#view .{name}") for name in ("before", "after"))
    assert np.array_equal(given, made)


def test_the_last_answer_wins_and_requests_never_overtake_each_other(studio):
    sent, open_now = [], []

    def slowly(route):
        sent.append(asked(route.request)["strength"])
        open_now.append(len(sent))
        assert len(open_now) == 1
        answer = route.fetch()
        studio.wait_for_timeout(120 if len(sent) == 1 else 10)  # an older answer takes longest
        open_now.pop()
        route.fulfill(response=answer)

    studio.route("**/api/v1/synthesis", slowly)
    values = [f"{value / 20:g}" for value in range(2, 28, 3)]
    studio.evaluate(
        """values => {
          const slider = document.querySelector("#dial-strength");
          for (const value of values) {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
          }
        }""",
        values,
    )
    wait_until(studio, f"document.querySelector('#spoken').textContent.includes('strength {values[-1]}, ')")
    wait_until(studio, IDLE)
    assert sent == [values[0], values[-1]]
    shown = pixels(studio, "#view .after")
    studio.unroute("**/api/v1/synthesis")
    with studio.expect_download() as download:
        studio.get_by_role("button", name="Download the picture").click()
    with Image.open(download.value.path()) as picture:
        saved = np.asarray(picture.convert("RGB"))
    assert np.array_equal(saved, shown[..., :3])


def test_a_face_whose_landmarks_are_not_known_is_told(studio):
    assert "moves as the mean face does" in studio.locator("#readout").inner_text()


def test_dials_stay_as_they_are_from_model_to_model(studio):
    before = pixels(studio, "#view .after")
    slider(studio).fill("0.3")
    weak = changed(studio, "#view .after", before)
    studio.get_by_label("plain").check()
    changed(studio, "#view .after", weak)
    studio.get_by_label("moving").check()
    wait_until(studio, "document.querySelector('#spoken').textContent.includes('strength 0.3, ')")
    assert slider(studio).input_value() == "0.3"
    assert np.array_equal(pixels(studio, "#view .after"), weak)
    settled(studio)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page_with_dials_keeps_what_it_owes(open_page, moved, size, scheme):
    page = open_page(moved.url, "/?model=moving", size, scheme)
    settled(page, "#dials:visible")
    assert page.evaluate(AUDIT) == []


def test_the_form_of_imports_has_every_option(open_page, moved):
    page = open_page(moved.url, "/datasets#ingest", refusals=(404,))
    settled(page, "#ingest")
    page.locator("#ingest summary").click()
    assert page.evaluate(AUDIT) == []
    offered = page.locator("#ingest [data-option]").evaluate_all("all => all.map((one) => one.dataset.option)")
    assert sorted(offered) == sorted(INGEST)
    page.get_by_label("Source", exact=True).fill("nobody")
    page.locator("#i-name").fill("somebody")
    page.get_by_label("Several faces").select_option("largest")
    page.get_by_label("Alignment").select_option("landmarks")
    page.get_by_label("Side in pixels").last.fill("64, 48")
    page.get_by_label("Photographs that cannot be used").select_option("true")
    page.get_by_label("Seed of the split").fill("3")
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/datasets")) as sent:
        page.get_by_role("button", name="Import").click()
    chosen = {"faces": "largest", "align": "landmarks", "size": [64, 48], "strict": True, "seed": 3}
    assert sent.value.post_data_json["ingest"] == {"source": "nobody", **chosen}
    page.locator("#ingest .notice[role=alert]:visible").wait_for()
    assert "nobody" in page.locator("#ingest .notice[role=alert]").inner_text()
    settled(page)
