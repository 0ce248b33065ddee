"""The Studio: a photograph, a model, and what becomes of it."""

import re

import numpy as np
import pytest
from PIL import Image

from browser.looking import changed, drag, middle, pixels, settled, wait_until

pytestmark = pytest.mark.browser


def test_before_and_after_are_parted_where_the_divider_is(studio):
    divider, view = studio.get_by_role("slider", name="Divider"), studio.locator("#view")
    box = view.bounding_box()
    x, y = middle(view)
    assert divider.get_attribute("aria-valuenow") == "50"
    drag(studio, (x, y), (box["x"] + box["width"] / 4, y))
    assert divider.get_attribute("aria-valuenow") == "25"
    studio.mouse.click(box["x"] + 0.9 * box["width"], y)
    assert divider.get_attribute("aria-valuenow") == "90"
    divider.focus()
    keys = {"Home": 0, "ArrowRight": 2, "PageUp": 12, "Shift+ArrowRight": 22, "End": 100, "ArrowLeft": 98}
    for key, place in keys.items():
        studio.keyboard.press(key)
        assert divider.get_attribute("aria-valuenow") == str(place)
    assert divider.get_attribute("aria-valuetext") == "98 % before, 2 % after"
    assert studio.eval_on_selector("#view .after", "e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 98%)"


def test_strength_blends_at_once_and_the_download_is_what_one_sees(studio):
    before, after = (pixels(studio, f"#view .{name}").astype(int) for name in ("before", "after"))
    assert np.abs(after - before).max() > 40
    asked = []
    studio.on("request", lambda request: asked.append(request.url))
    studio.get_by_label("Strength").fill("50")
    half = pixels(studio, "#view .after").astype(int)
    assert np.abs(half - (before + after) / 2).max() <= 1.5
    assert asked == []
    with studio.expect_download() as download:
        studio.get_by_role("button", name="Download the picture").click()
    with Image.open(download.value.path()) as picture:
        saved = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(saved - half[..., :3]).max() <= 2


def test_the_radius_and_the_refinement_make_another_picture(studio):
    first = pixels(studio, "#view .after")
    studio.get_by_label("Radius").fill("2")
    narrow = changed(studio, "#view .after", first)
    studio.get_by_label("Keep the photograph").uncheck()
    whole = changed(studio, "#view .after", narrow)
    before = pixels(studio, "#view .before")
    sizes = [np.count_nonzero((each != before).any(axis=2)) for each in (narrow, first, whole)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert studio.get_by_label("Radius").is_disabled()


def test_the_importance_map_lies_over_the_picture(studio):
    assert studio.locator("#view .overlay").is_hidden()
    studio.get_by_label("Show the importance map").check()
    studio.wait_for_selector("#view .overlay:not([hidden])")
    overlay = pixels(studio, "#view .overlay")
    assert overlay[0, 0, 3] > 100  # in the dark, where nothing changes
    assert overlay[..., 3].min() < 20  # and clear at the mouth
    studio.get_by_label("Show the importance map").uncheck()
    studio.wait_for_selector("#view .overlay", state="hidden")


def test_models_show_what_they_make_of_the_photograph(studio):
    faces = "[...document.querySelectorAll('#models canvas')]"
    wait_until(studio, f"new Set({faces}.map(c => c.toDataURL())).size === 4")
    assert studio.evaluate(f"{faces}.length") == 4
    studio.get_by_label("surprised-3x3").check()
    studio.wait_for_selector("#caption-after:has-text('surprised')")
    assert studio.url.endswith("model=surprised-3x3")
    studio.get_by_label("happy-l2").check()
    studio.wait_for_selector("#refinement-none:visible")
    assert studio.get_by_label("Show the importance map").is_disabled()
    settled(studio)


def test_another_face_is_chosen_with_the_keyboard(studio):
    before = pixels(studio, "#view .before")
    buttons = studio.locator("#strip button")
    assert buttons.count() > 1
    buttons.first.focus()
    studio.keyboard.press("ArrowRight")
    studio.keyboard.press("Enter")
    changed(studio, "#view .before", before)
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    settled(studio)


def test_pupils_are_set_by_two_clicks_moved_and_forgotten(open_page, trained, portrait):
    path, pupils = portrait
    studio = open_page(trained.url, "/?model=happy-3x3", refusals=(422,))  # the face may not be found by itself
    settled(studio, "#readout div")
    studio.set_input_files("#photograph", path)
    studio.wait_for_selector("#pupils-row:visible")
    settled(studio)
    if studio.get_by_role("button", name="Set the pupils").is_visible():
        studio.get_by_role("button", name="Set the pupils").click()
    box = studio.locator("#view").bounding_box()
    scale = box["width"] / 600
    for mark, (x, y) in zip(("#pupil-left", "#pupil-right"), pupils, strict=True):
        place = box["x"] + scale * x, box["y"] + scale * y
        if studio.locator(mark).is_visible():  # it was found, though not here
            drag(studio, middle(studio.locator(mark)), place)
        else:
            studio.mouse.click(*place)
    studio.wait_for_selector("#readout:has-text('by the pupils')")
    left = studio.locator("#pupil-left")

    def place_of_left():
        return [int(value) for value in re.findall(r"\d+", left.get_attribute("aria-label"))]

    x, y = place_of_left()
    assert np.allclose((x, y), pupils[0], atol=2)
    left.focus()
    studio.keyboard.press("ArrowRight")
    studio.keyboard.press("Shift+ArrowDown")
    assert place_of_left() == [x + 1, y + 10]
    studio.keyboard.press("Shift+ArrowUp")
    settled(studio)
    studio.get_by_role("button", name="Done").click()
    assert left.is_hidden()
    before, after = (pixels(studio, f"#view .{name}").astype(int) for name in ("before", "after"))
    change = np.abs(after - before).max(axis=2)
    assert change[:150].max() == 0  # far from the face the photograph stays
    assert change[350:560].max() > 30
    studio.get_by_role("button", name="Find them again").click()
    settled(studio)


def test_pupils_are_set_from_the_keyboard(studio, portrait):
    studio.evaluate("document.querySelector('#pupils-row').hidden = false")  # also where the face was found
    studio.get_by_role("button", name="Set the pupils").click()
    wait_until(studio, "document.activeElement.id === 'view'")
    studio.keyboard.press("Enter")
    wait_until(studio, "document.activeElement.id === 'pupil-left'")
    studio.keyboard.press("ArrowLeft")
    studio.keyboard.press("Tab")
    assert studio.evaluate("document.activeElement.id") == "pupil-right"
    studio.wait_for_selector("#readout:has-text('by the pupils')")
    settled(studio)


def test_what_is_no_picture_is_told_in_a_sentence(studio, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    studio.set_input_files("#photograph", tmp_path / "notes.jpg")
    message = studio.locator("#messages .message.bad")
    message.wait_for()
    assert "notes.jpg is not a picture" in message.inner_text()
    message.get_by_role("button", name="Close").click()
    assert message.count() == 0


def test_a_photograph_that_is_dropped_is_taken(open_page, trained, portrait):
    studio = open_page(trained.url, "/?model=happy-3x3", refusals=(422,))
    settled(studio, "#readout div")
    before = pixels(studio, "#view .before")
    dropped = studio.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
          return transfer;
        }""",
        list(portrait[0].read_bytes()),
    )
    studio.dispatch_event("#stage", "drop", {"dataTransfer": dropped})
    after = changed(studio, "#view .before", before)
    assert after.shape[:2] == (800, 600)
    settled(studio)
