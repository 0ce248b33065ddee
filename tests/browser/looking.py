"""How the tests look at pages: pixels of canvases, drags, and what a page owes to everybody."""

import base64
import json
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from commands import MRDIST, SECONDS


def _script(name):
    return re.sub(r"^//.*$", "", Path(__file__).with_name(name).read_text(), flags=re.MULTILINE)


AUDIT = _script("audit.js")
FOCUS = _script("focus.js")
PAGES = ("/", "/train", "/models", "/datasets")


class Service:
    """A `mrdist serve` of its own; `catalog` is the folder it keeps everything in."""

    def __init__(self, catalog, *options):
        command = [MRDIST, "serve", "--catalog", str(catalog), "--port", "0", "--json", *options]
        self.catalog = catalog
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"].rstrip("/")

    def stop(self):
        self.process.terminate()
        self.process.wait(SECONDS)
        self.process.stdout.close()


@contextmanager
def serving(catalog, *options):
    service = Service(catalog, *options)
    try:
        yield service
    finally:
        service.stop()


def settled(page, selector="#main"):
    """Wait until the page has asked for all that it shows."""
    page.wait_for_selector(selector)
    page.wait_for_load_state("networkidle")


def pixels(page, selector):
    """Return what a canvas shows, (y, x, rgba)."""
    width, height, values = page.eval_on_selector(
        selector,
        """canvas => {
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          let bytes = "";
          const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
          for (const value of data) bytes += String.fromCharCode(value);
          return [canvas.width, canvas.height, btoa(bytes)];
        }""",
    )
    return np.frombuffer(base64.b64decode(values), dtype=np.uint8).reshape(height, width, 4)


def wait_until(page, expression):
    """Wait until an expression is true; `page.wait_for_function` would need the eval that the policy forbids."""
    _wait(lambda: page.evaluate(expression))


def _wait(look):
    limit = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < limit, "it does not come"
        time.sleep(0.05)


def changed(page, selector, before):
    """Wait until a canvas shows something else than these pixels, and return them."""
    _wait(lambda: not np.array_equal(pixels(page, selector), before))
    return pixels(page, selector)


def middle(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()
