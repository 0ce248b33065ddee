"""Folders of made photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image


def write_photographs(folder, people, size=32):
    """Write noise in the London layout, two photographs a person, neutral and smiling; return the folder."""
    rng = np.random.default_rng(people)
    for label, shot in (("neutral", "03"), ("smiling", "08")):
        place = folder / f"{label}_front"
        place.mkdir(parents=True)
        for person in range(people):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{person:03}_{shot}.jpg")
    return folder
