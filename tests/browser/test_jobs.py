"""Jobs on the page: their command, log, warnings and notes; found, paged and deleted together; comparisons."""

import json

import pytest

import mrdist
from browser.looking import AUDIT, serving, settled, wait_until

pytestmark = pytest.mark.browser

ROWS = "[...document.querySelectorAll('#jobs tr .name')].map(a => a.innerText).join()"


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """A service with the records of many jobs, and a comparison that is done."""
    catalog = tmp_path_factory.mktemp("worked") / "catalog"
    faces = str(catalog / "datasets" / "faces.zarr")
    labels = {"source": "neutral", "target": "happy"}
    work = {"workers": 0, "progress": False}
    mrdist.generate(faces, images=20, size=32, labels=[*labels.values()], **work)
    mrdist.compare(
        faces,
        **labels,
        methods=["mr", "identity"],
        recognition=False,
        out=str(catalog / "comparisons" / "both.compared"),
        **work,
    )
    jobs = catalog / "jobs"
    jobs.mkdir(parents=True)
    for number in range(30):
        job = f"20261125t0930{number:02}000000-0f3a9c2e"
        record = {
            "id": job,
            "verb": "train",
            "name": f"model-{number}",
            "options": {"images": "faces", **labels, "alpha": 0.5},
        }
        times = dict.fromkeys(("submitted", "started", "finished"), "2026-11-25T09:30:00Z")
        said = {
            "warnings": ["the least error lies at alpha 100; extend --alphas."],
            "model": "smile",
            "dataset": "faces",
        }
        (jobs / f"{job}.json").write_text(
            json.dumps(record | times | said | {"state": "failed", "last_error": "it failed."})
        )
        lines = [{"time": "2026-11-25T09:30:00Z", "level": "warning", "message": f"line of {number}"}]
        (jobs / f"{job}.log").write_text(json.dumps({"lines": lines}))
    with serving(catalog, "--workers", "0") as service:
        yield service


@pytest.fixture
def watching(open_page, worked):
    page = open_page(worked.url, "/train?job=20261125t093007000000-0f3a9c2e")
    settled(page, "#watch-title:has-text('model-7')")
    return page


def test_a_job_shows_its_command_its_warnings_and_its_log(watching):
    assert "extend “Penalties to try”." in watching.locator("#watch-warnings").inner_text()
    watching.get_by_text("Command line", exact=True).click()
    assert watching.locator("#watch-command").inner_text() == (
        "mrdist submit train faces model-7 --source neutral --target happy --alpha 0.5"
    )
    watching.get_by_text("Log", exact=True).click()
    watching.wait_for_selector("#log .warning:has-text('line of 7')")
    watching.get_by_text("Options of this job", exact=True).click()
    assert watching.evaluate(AUDIT) == []


def test_a_note_is_kept_and_found(watching):
    watching.get_by_label("Tags").fill("talk, large")
    watching.get_by_label("Note").fill("for Tuesday")
    watching.wait_for_selector("#jobs tr:has-text('for Tuesday') .tag:has-text('talk')")
    watching.reload()
    settled(watching, "#watch-title:has-text('model-7')")
    assert watching.get_by_label("Note").input_value() == "for Tuesday"
    watching.get_by_label("Find a job").fill("tuesday")
    wait_until(watching, f"{ROWS} === 'model-7'")
    settled(watching)


def test_many_jobs_are_paged_searched_and_deleted(open_page, worked):
    page = open_page(worked.url, "/train")
    settled(page, "#jobs .name")
    assert page.locator("#jobs tr").count() == 25
    page.get_by_role("button", name="Older jobs").click()
    wait_until(page, "document.querySelectorAll('#jobs tr').length === 30")
    page.get_by_label("Find a job").fill("model-2")
    wait_until(page, "document.querySelectorAll('#jobs tr').length === 11")
    page.get_by_role("button", name="Delete those that have ended").click()
    page.get_by_role("button", name="Delete the jobs").click()
    page.wait_for_selector("#messages :text('11 jobs deleted.')")
    page.wait_for_selector("#no-jobs")
    page.get_by_label("Find a job").fill("")
    wait_until(page, "document.querySelectorAll('#jobs tr').length === 19")
    settled(page)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_comparison_is_shown(open_page, worked, size):
    page = open_page(worked.url, "/models?comparison=both#comparisons", size)
    settled(page, "#comparison-table tbody tr")
    assert page.locator("#comparison-table tbody tr").count() == 2
    assert "on 2 people" in page.locator("#comparison-what").inner_text()
    wait_until(page, "document.querySelector('.comparison-picture').naturalWidth > 100")
    assert page.evaluate(AUDIT) == []
