"""A browser, a service, and pages that may neither complain nor ask other hosts."""

import shutil
from contextlib import ExitStack
from urllib.parse import urlsplit

import numpy as np
import pytest
from commands import SECONDS
from PIL import Image

import mrdist
from browser.looking import serving, settled
from mrdist.datasets.synthetic import render_face

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


@pytest.fixture(scope="session")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.fail("these tests need Chromium: apt-get install chromium.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Return a function that starts a service of its own, which outlives the pages that the test opens."""
    with ExitStack() as services:
        yield lambda catalog, *options: services.enter_context(serving(catalog, *options))


@pytest.fixture
def open_page(browser, serve):
    """Return a function that opens a page of a service; at the end of the test none of them may have complained.

    ``refusals`` are the status codes that a test provokes: the browser writes a line about each of those answers.
    """
    complaints, contexts = [], []

    def open_page(url, path="/", size="desktop", scheme="light", *, refusals=(), **options):
        width, height = SIZES[size]
        phone = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2} if size == "phone" else {}
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, **phone, **options
        )
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS)
        host = urlsplit(url).netloc

        def hear(line):
            expected = any(f"status of {status}" in line.text for status in refusals)
            expected |= "ERR_NETWORK_CHANGED" in line.text  # a container came or went on this machine
            if line.type in ("error", "warning") and not expected:
                complaints.append(f"{line.type}: {line.text}")

        def see(request):
            parts = urlsplit(request.url)
            if parts.scheme not in ("blob", "data") and parts.netloc != host:
                complaints.append(f"another host: {request.url}")

        context.on("request", see)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a service whose catalogue has a dataset and models of two methods."""
    catalog = tmp_path_factory.mktemp("trained") / "catalog"
    faces = str(catalog / "datasets" / "faces.zarr")
    labels = ["neutral", "happy", "surprised"]
    mrdist.generate(faces, images=60, size=96, labels=labels, workers=0, progress=False)
    for name, options in {
        "happy-3x3": {"target": "happy"},
        "happy-5x5": {"target": "happy", "receptive_field": 5, "color": "separate"},
        "happy-l2": {"target": "happy", "method": "l2"},
        "surprised-3x3": {"target": "surprised"},
    }.items():
        model = str(catalog / "models" / f"{name}.zarr")
        mrdist.train(faces, model, source="neutral", workers=0, progress=False, **options)
    with serving(catalog, "--workers", "1") as service:
        yield service


@pytest.fixture
def studio(open_page, trained):
    """Return the Studio with the first face and the model happy-3x3."""
    page = open_page(trained.url, "/?model=happy-3x3")
    settled(page, "#readout div")
    return page


@pytest.fixture
def portrait(tmp_path):
    """Return a photograph whose face is not where the training had it, and its pupils."""
    face = render_face(7, "neutral", 360, seed=5, color="rgb")
    picture = np.full((800, 600, 3), (170, 180, 175), np.uint8)
    picture[200:560, 120:480] = face
    path = tmp_path / "portrait.jpg"
    Image.fromarray(picture).save(path, quality=95)
    return path, ((120 + 0.32 * 360, 200 + 0.40 * 360), (120 + 0.68 * 360, 200 + 0.40 * 360))
