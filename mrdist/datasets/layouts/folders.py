"""Folders of expressions and of people, in one of three orders.

::

    neutral/ann.png, happy/ann.png                  folders: equal names are one person
    neutral/ann/1.png, happy/ann/1.png              expressions: folders of people in folders of expressions
    ann/neutral/1.png, ann/happy/1.png              people: folders of expressions in folders of people,
    ann/neutral.png, ann/happy.png                  or photographs that are named after expressions

Folders named train, val (valid, validation, dev) and test, at any level, give the split; a person is then split and
name, since each split has its own names. Folders that enclose all photographs are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mrdist.datasets.layouts.records import Layout, Listing, Record, photographs
from mrdist.datasets.layouts.trees import Place, is_expression, places, repeated, share, shared, split_of
from mrdist.storage.access.files import Source

#: (subject, label, photograph of several) of a place, or None where it does not lie deep enough.
_Reading = Callable[[Place], tuple[str, str, str] | None]


def _folders(place: Place) -> tuple[str, str, str] | None:
    return (place.name, place.folders[-1], "") if place.folders else None


def _folders_by_rest(place: Place) -> tuple[str, str, str] | None:
    """Read a name that repeats its folder's, as in ``happy/ann_happy.png``."""
    if not place.folders:
        return None
    label = re.escape(place.folders[-1])
    rest = re.sub(rf"^{label}[\W_]+|[\W_]+{label}$", "", place.name, flags=re.IGNORECASE)
    return (rest, place.folders[-1], "")


def _expressions(place: Place) -> tuple[str, str, str] | None:
    return (place.folders[-1], place.folders[-2], place.name) if len(place.folders) > 1 else None


def _people_by_folder(place: Place) -> tuple[str, str, str] | None:
    return (place.folders[-2], place.folders[-1], place.name) if len(place.folders) > 1 else None


def _people_by_name(place: Place) -> tuple[str, str, str] | None:
    return (place.folders[-1], place.name, "") if place.folders else None


def _people(names: Sequence[Place]) -> _Reading:
    if share(place.name for place in names) > 0.5:
        return _people_by_name
    deep = sum(len(place.folders) > 1 for place in names)
    return _people_by_folder if 2 * deep > len(names) else _people_by_name


def _shared(names: Iterable[Place], reading: _Reading) -> float:
    """Return the share of photographs whose person has other labels, too."""
    return shared(((place.split, person[0]), person[1]) for place in names if (person := reading(place)) is not None)


def _by_folders(names: Sequence[Place]) -> _Reading:
    return max((_folders, _folders_by_rest), key=lambda reading: _shared(names, reading))  # the first, if as good


def _reader(choose: Callable[[Sequence[Place]], _Reading], unfit: str) -> Callable[[Source], Listing]:
    def read(source: Source) -> Listing:
        listing = Listing()
        names = places(photographs(source.files))
        split = any(place.split for place in names)
        reading = choose(names)
        read_as = {}
        for place in names:
            person = reading(place)
            if person is None:
                listing.unfit[place.path] = unfit
            elif split and place.split is None:
                listing.unfit[place.path] = "the photograph is not in a folder of a split, as others are"
            else:
                read_as[place] = person
        # Several photographs of a person and label are takes, if the other labels have names in common with them.
        several = repeated([(place.split, who, label) for place, (who, label, _) in read_as.items()])
        pairs = shared(((place.split, who, what), label) for place, (who, label, what) in read_as.items())
        one_take = not several or not pairs
        for place, (who, label, what) in read_as.items():
            session = "" if one_take else what
            listing.records.append(Record(place.path, place.of_split(who), label, session, split=place.split))
        return listing

    return read


def telling(names: Sequence[str]) -> dict[str, str]:
    """Return the layouts of this module that photographs may have -> the evidence for each.

    A single layout is the answer, several are equally likely, and none is returned if most photographs fit nowhere.

    Examples
    --------
    >>> telling(["neutral/ann.png", "happy/ann.png"])
    {'folders': 'folders are expressions (happy, neutral), and equal names are one person'}
    >>> list(telling(["ann/1/happy.png", "ann/2/happy.png"]))
    ['people']
    >>> list(telling(["a/happy/1.png", "a/sad/1.png", "b/happy/2.png", "b/sad/2.png"]))
    ['people', 'folders']
    """
    parsed = places(names)
    inner = [place for place in parsed if place.folders]
    deep = [place for place in parsed if len(place.folders) > 1]
    if 2 * len(inner) <= len(parsed) or all(split_of(place.folders[-1]) for place in inner):
        return {}
    labels = _some({place.folders[-1] for place in inner})
    if share(place.folders[-1] for place in inner) > 0.5:
        by_name = {"folders": f"folders are expressions ({labels}), and equal names are one person"}
        if 2 * len(deep) <= len(parsed):
            return by_name if _shared(inner, _by_folders(inner)) else {}
        who = _some({place.folders[-2] for place in deep})
        by_folder = {"people": f"folders are people ({who}) with folders of expressions ({labels})"}
        read = [(place.split, place.folders[-1], place.name) for place in deep]
        return by_folder if repeated(read) or _shared(deep, _folders) <= 0.5 else by_folder | by_name
    if 2 * len(deep) > len(parsed) and share(place.folders[-2] for place in deep) > 0.5:
        expressions = _some({place.folders[-2] for place in deep})
        return {"expressions": f"folders are expressions ({expressions}) with folders of people ({labels})"}
    if share(place.name for place in inner) > 0.5:
        called = _some({place.name for place in inner if is_expression(place.name)})
        return {"people": f"folders are people ({labels}), and photographs are named after expressions ({called})"}
    if 2 * len(deep) <= len(parsed) and _shared(inner, _by_folders(inner)) >= 0.5:
        return {"folders": f"equal names in several folders ({labels}) are one person"}
    return {}


def count(names: Sequence[str]) -> int:
    """Count the photographs that lie in a folder of an expression.

    Examples
    --------
    >>> count(["neutral/ann.png", "happy/ann.png", "loose.png"])
    2
    """
    return sum(bool(place.folders) for place in places(names))


def _deep(names: Sequence[str]) -> int:
    return sum(len(place.folders) > 1 for place in places(names))


def _some(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + ("" if len(names) <= len(first) else ", ...")


FOLDERS = Layout(
    "folders",
    "happy/ann.png, train/happy/000.png",
    "split if any, expression, person",
    count,
    _reader(_by_folders, "the photograph is not in a folder named after an expression"),
)
EXPRESSIONS = Layout(
    "expressions",
    "happy/ann/1.png",
    "expression, person, take",
    _deep,
    _reader(lambda _: _expressions, "the photograph is not in the folder of a person within that of an expression"),
)
PEOPLE = Layout(
    "people",
    "ann/happy/1.png, ann/happy.png",
    "person, expression, take",
    count,
    _reader(_people, "the photograph is not in the folder of a person"),
)
