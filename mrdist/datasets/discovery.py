"""Find the people of a source and their photographs, whatever its layout."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from mrdist.datasets.layouts import bosphorus, domains, folders, jaffe, kdef, london, manifest, sides
from mrdist.datasets.layouts.records import ANGLES, LANDMARKS, Layout, Listing, Record, beside, photographs
from mrdist.datasets.layouts.trees import composed
from mrdist.datasets.photographs import Photograph, Take
from mrdist.errors import DataError, ParameterError
from mrdist.storage.access.files import Source
from mrdist.storage.access.urls import StorageOptions

_NAMED = {module.LAYOUT.name: module.LAYOUT for module in (kdef, bosphorus, jaffe, london, domains)}
#: By name; the first five are recognised by their file names.
LAYOUTS: Mapping[str, Layout] = _NAMED | {
    layout.name: layout
    for layout in (folders.FOLDERS, folders.EXPRESSIONS, folders.PEOPLE, sides.LAYOUT, manifest.LAYOUT)
}


@dataclass(frozen=True)
class Discovery:
    """What a source holds.

    Attributes
    ----------
    dataset
        Name of the dataset.
    layout
        Name of its layout.
    reason
        Why it was detected; empty if it was given.
    takes
        In order of person and session. A take need not have every label.
    unfit
        Photographs whose names do not fit -> the reason.
    skipped
        Files that are skipped on purpose -> the reason.
    """

    dataset: str
    layout: str
    reason: str
    takes: list[Take]
    unfit: dict[str, str]
    skipped: dict[str, str]

    @property
    def left_out(self) -> dict[str, str]:
        """Unfit and skipped files -> the reason; files of one pattern become one entry, with their number."""
        return _by_pattern(self.unfit) | _by_pattern(self.skipped)


def discover(
    src: str | os.PathLike[str],
    *,
    layout: str = "auto",
    dataset: str | None = None,
    angle: str = "front",
    follow_links: bool = False,
    storage_options: StorageOptions = None,
) -> Discovery:
    """Find the people of a source and their photographs.

    Parameters
    ----------
    src
        Path or fsspec URL of a folder, of a zip or tar, or of a manifest (CSV or Parquet).
    layout
        One of `LAYOUTS`, or ``"auto"``: the manifest if there is one, else the layout that most names fit if no other
        fits any. Folders that enclose all photographs are ignored.
    dataset
        Name of the dataset; by default the folder's name.
    angle
        Direction of the face to take, one of `mrdist.datasets.layouts.records.ANGLES`.
    follow_links
        Also read links that lead out of a local folder.
    storage_options
        Options of the source's fsspec filesystem.

    Returns
    -------
    Discovery

    Raises
    ------
    ParameterError
        Layout or angle is unknown.
    DataError
        The source does not exist, holds no photograph, or its layout is not clear.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise ParameterError(f"layout must be one of auto, {', '.join(LAYOUTS)}, got {layout!r}.")
    if angle not in ANGLES:
        raise ParameterError(f"angle must be one of {', '.join(ANGLES)}, got {angle!r}.")
    table = None
    path = PurePosixPath(os.fspath(src))
    if path.suffix.lower() in manifest.SUFFIXES:
        if layout not in ("auto", "manifest"):
            raise ParameterError(
                f"{src} is a manifest, which cannot have layout {layout!r}: leave out the layout, or give a folder."
            )
        layout, table, src = "manifest", path.name, os.fspath(src)[: -len(path.name)] or "."
    source = Source.open(src, storage_options, follow_links=follow_links)
    name, reason = _detect(source) if layout == "auto" else (layout, "")
    chosen = LAYOUTS[name]
    listing = manifest.read(source, table) if name == "manifest" else chosen.read(source)
    if angle != "front" and not any(record.angle == angle for record in listing.records):
        raise DataError(f"{source} holds no photograph of angle {angle!r} in the layout {chosen.name}.")
    takes = _takes(source, listing, dataset or source.name, angle)
    if not takes:
        raise DataError(
            f"{source} holds no photograph in the layout {chosen.name} ({chosen.example}); "
            f"{len(listing.unfit)} photographs do not fit it{_for_example(listing.unfit)}."
        )
    _note_others(source, listing)
    listing.unfit.update(source.refused)
    return Discovery(
        dataset or source.name, name, reason, takes, _places(source, listing.unfit), _places(source, listing.skipped)
    )


def _detect(source: Source) -> tuple[str, str]:
    """Return the name of the only layout that fits, and the evidence for it."""
    table = manifest.find(source)
    if table is not None:
        return "manifest", f"there is {table}"
    names = photographs(source.files)
    if not names:
        links = f"; {len(source.refused)} files are links that lead out of it" if source.refused else ""
        more = ": --follow-links reads them, if you trust where they lead" if links else ""
        raise DataError(f"{source} holds no photograph{links}{more}.")
    counts = {name: layout.count(names) for name, layout in _NAMED.items()}
    fitting = [name for name, count in counts.items() if count]
    if len(fitting) == 1 and 2 * counts[fitting[0]] > len(names):
        (name,) = fitting
        return name, f"{counts[name]} of {len(names)} photographs are called like {LAYOUTS[name].example}"
    told = {} if fitting else folders.telling(names)
    if len(told) == 1:
        return next(iter(told.items()))
    if told:
        either = "; or ".join(f"--layout {name}: {why}" for name, why in told.items())
        raise DataError(f"The layout of {source} is not clear; choose one of these: {either}.")
    counts["folders"] = LAYOUTS["folders"].count(names)
    tried = ", ".join(f"{name} {count}" for name, count in counts.items())
    raise DataError(
        f"The layout of {source} is not clear: of {len(names)} photographs, such as {names[0]}, these numbers fit: "
        f"{tried} (which needs equal names in several folders); choose one with --layout: {', '.join(LAYOUTS)}."
    )


def _takes(source: Source, listing: Listing, dataset: str, angle: str) -> list[Take]:
    """Group records of one angle; the first one is used of several for one expression of a take."""
    near = beside(source.files)
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    splits: dict[str, tuple[str | None, str]] = {}
    for record in listing.records:
        record = replace(record, subject=composed(record.subject), label=composed(record.label))
        if record.angle != angle:
            listing.skipped[record.path] = f"its angle is {record.angle}; --angle {record.angle} takes it"
            continue
        split, path = splits.setdefault(record.subject, (record.split, record.path))
        if split != record.split:
            raise DataError(
                f"Person {record.subject} of {source} is in split {split or 'none'} by {path} and in "
                f"{record.split or 'none'} by {record.path}; a person must be in one split."
            )
        labels = groups.setdefault((record.subject, record.session), {})
        first = labels.setdefault(record.label, record)
        if first is not record:
            listing.unfit[record.path] = f"{PurePosixPath(first.path).name} is used for the same person and label"
    takes = []
    for (subject, session), records in sorted(groups.items()):
        shots, landmarks = {}, {}
        for label, record in sorted(records.items()):
            file = source.file(record.path)
            shots[label] = Photograph(file.url, file.member, file.storage_options, record.half)
            points = record.landmarks or near.get(str(PurePosixPath(record.path).with_suffix("")))
            if points is not None and record.half is None:
                landmarks[label] = source.file(points)
        takes.append(Take(subject, shots, landmarks, session, dataset, splits[subject][0], str(source)))
    return takes


def _note_others(source: Source, listing: Listing) -> None:
    """List files beside photographs that are neither photographs nor landmark files of one."""
    pictures = set(photographs(source.files))
    stems = {str(PurePosixPath(name).with_suffix("")) for name in pictures}
    folders_ = {PurePosixPath(name).parent for name in pictures}
    used = {record.landmarks for record in listing.records}
    taken = {record.path for record in listing.records} | set(listing.unfit) | set(listing.skipped)
    for name in source.files:
        path = PurePosixPath(name)
        if path.parent not in folders_ or name in used or name in manifest.NAMES or name in taken:
            continue
        if name in pictures:
            listing.skipped[name] = "the manifest does not name it"
        elif path.suffix.lower() not in LANDMARKS:
            listing.skipped[name] = "not a photograph or landmark file"
        elif str(path.with_suffix("")) not in stems:
            listing.skipped[name] = "no photograph of the same name is used"


def _places(source: Source, names: Mapping[str, str]) -> dict[str, str]:
    return {str(source.file(name)): reason for name, reason in names.items()}


def _for_example(names: Iterable[str]) -> str:
    first = next(iter(names), None)
    return "" if first is None else f", {first} for one"


def _by_pattern(names: Mapping[str, str]) -> dict[str, str]:
    """Merge files with one reason whose names differ only in letters and digits."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path, reason in names.items():
        groups.setdefault((_pattern(path), reason), []).append(path)
    return {
        paths[0] if len(paths) == 1 else f"{len(paths)} files like {paths[0]} (pattern {pattern})": reason
        for (pattern, reason), paths in groups.items()
    }


def _pattern(path: str) -> str:
    """Return a name with every letter and digit replaced, its extension kept.

    Examples
    --------
    >>> _pattern("AF01/AF01NEHL.JPG")
    'AA99AAAA.JPG'
    """
    name = PurePosixPath(path)
    return re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", name.stem)) + name.suffix
