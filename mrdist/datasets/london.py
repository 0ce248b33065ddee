"""The folder layout of the Face Research Lab London Set.

::

    neutral_front/001_03.jpg    person 001, label "neutral"
    neutral_front/001_03.tem    its landmarks
    smiling_front/001_08.jpg    the same person, label "smiling"
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mrdist.datasets.photographs import Take
from mrdist.errors import DataError

_NAME = re.compile(r"(?P<subject>[A-Za-z0-9]+)_(?P<shot>[0-9]+)")
_PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


def discover(folder: str | os.PathLike[str]) -> tuple[list[Take], dict[Path, str]]:
    """Find the people of a folder and their photographs.

    A folder ``<label>_front`` holds the photographs of one label, named ``<person>_<shot>.jpg``. What
    belongs together is told by the person's id alone, never by a position in a listing.

    Parameters
    ----------
    folder : path-like
        The folder that holds the labels' folders.

    Returns
    -------
    takes : list of Take
        In order of the person's id. A person need not have every label.
    left_out : dict of Path to str
        The files in the labels' folders that were not used -> the reason. Hidden files are not listed.

    Raises
    ------
    DataError
        There is no such folder, or no photograph in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: give the one that holds neutral_front and its like.")
    photographs: dict[str, dict[str, Path]] = {}
    landmarks: dict[str, dict[str, Path]] = {}
    templates: list[Path] = []
    left_out: dict[Path, str] = {}
    for place in sorted(path for path in folder.glob("*_front") if path.is_dir()):
        label = place.name.removesuffix("_front")
        for path in sorted(path for path in place.iterdir() if not path.name.startswith(".")):
            name = _NAME.fullmatch(path.stem)
            if path.suffix.lower() == ".tem":
                templates.append(path)
            elif path.suffix.lower() not in _PHOTOGRAPHS:
                left_out[path] = "not a photograph or landmark file"
            elif name is None:
                left_out[path] = "the name is not <person>_<shot>"
            elif label in (taken := photographs.setdefault(name["subject"], {})):
                left_out[path] = f"{taken[label].name} is used for the same person and label"
            else:
                taken[label] = path
                if (template := path.with_suffix(".tem")).is_file():
                    landmarks.setdefault(name["subject"], {})[label] = template
    used = {path for beside in landmarks.values() for path in beside.values()}
    left_out |= {path: "no photograph of the same name is used" for path in templates if path not in used}
    if not photographs:
        raise DataError(f"Folder {folder} holds no photograph like neutral_front/001_03.jpg.")
    people = sorted(photographs)
    return [Take(person, photographs[person], landmarks.get(person, {})) for person in people], left_out
