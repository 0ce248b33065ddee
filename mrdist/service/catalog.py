"""The catalogue: one folder or bucket that holds everything a service knows.

::

    datasets/NAME.zarr   statistics/NAME.zarr   models/NAME.zarr   comparisons/NAME.compared
    jobs/ID.json         sources/               photographs to ingest

Requests can only name entries of it: names have one pattern, and paths of sources may not lead out.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StringConstraints, ValidationError

from mrdist.errors import MrdistError, ParameterError
from mrdist.service.refusals import RefusedError
from mrdist.storage import StorageOptions, describe, is_local, normalize_url, redact
from mrdist.storage.access.catalogs import exists, is_link, list_stores, remove_store, stamp_of
from mrdist.storage.access.places import list_names, make_folder
from mrdist.storage.access.records import read_record, remove_record, write_record
from mrdist.storage.making.lease import run_url

Kind = Literal["datasets", "statistics", "models", "comparisons"]

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
_LABEL = "[A-Za-z_][A-Za-z0-9_]{0,62}"
MODEL_PATTERN = rf"{NAME_PATTERN[:-1]}(:{_LABEL}-{_LABEL})?$"
SOURCE_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9 ._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9 ._-]{0,99}){0,7}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a dataset, statistics, a model or a comparison."""
ModelName = Annotated[str, StringConstraints(pattern=MODEL_PATTERN)]
"""Name of a model, or of one of the mappings that were trained together: ``all:neutral-happy``."""
SourcePath = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
"""Path below ``sources/``."""

_KINDS: dict[Kind, tuple[str, str, str]] = {  # noun, ending of the folder, file that marks it
    "datasets": ("dataset", ".zarr", "zarr.json"),
    "statistics": ("statistics", ".zarr", "zarr.json"),
    "models": ("model", ".zarr", "zarr.json"),
    "comparisons": ("comparison", ".compared", "compare.json"),
}


@dataclass(frozen=True)
class Catalog:
    """A folder or bucket with everything that a service knows.

    Attributes
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem; keys and endpoints are better left to the environment.
    """

    url: str
    storage_options: StorageOptions = field(default=None, repr=False)

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions = None) -> Catalog:
        """Make the folder unless it exists, and check that it can be used.

        Raises
        ------
        ParameterError, StoreError
            If it is in memory, or cannot be used.
        """
        if url.startswith("memory://"):
            raise ParameterError("a catalogue in memory:// would end with its process; give a folder or a bucket.")
        catalog = cls(normalize_url(url), storage_options)
        for kind in (*_KINDS, "jobs", "sources"):
            make_folder(f"{catalog.url}/{kind}", storage_options)
        catalog.check()
        return catalog

    def __str__(self) -> str:
        return redact(self.url)

    def told(self, error: MrdistError) -> str:
        """Return the message of an error without the location of the catalogue."""
        return str(error).replace(f"{self}/", "")

    def check(self) -> None:
        """Raise StoreError if the catalogue cannot be read now."""
        list_stores(f"{self.url}/datasets", self.storage_options)

    def url_of(self, kind: Kind, name: str) -> str:
        """Return the URL of a store, whether it exists or not.

        Raises
        ------
        ParameterError
            If the name is not valid.
        """
        name, _, mapping = name.partition(":") if kind == "models" else (name, "", "")
        if not re.fullmatch(NAME_PATTERN[1:-1], name):
            raise ParameterError(
                f"{name[:80]!r} cannot name a {_KINDS[kind][0]}: use up to 63 lowercase letters, digits, dots, dashes "
                "and underscores, starting with a letter or digit."
            )
        url = f"{self.url}/{kind}/{name}{_KINDS[kind][1]}"
        return f"{url}/{mapping}" if mapping else url

    def names(self, kind: Kind) -> list[str]:
        """Return the names of all stores of a kind, complete or not."""
        stores = list_stores(f"{self.url}/{kind}", self.storage_options)
        ending = _KINDS[kind][1]
        names = [name.removesuffix(ending) for name in stores if name.endswith(ending)]
        return [name for name in names if re.fullmatch(NAME_PATTERN[1:-1], name)]

    def stamp(self, kind: Kind, name: str) -> str:
        """Return a short text that changes when the store does.

        Raises
        ------
        RefusedError
            If there is no such store.
        """
        stamp = stamp_of(self.url_of(kind, name), self.storage_options, root=_KINDS[kind][2])
        if stamp is None:
            raise self.missing(kind, name)
        return stamp

    def is_complete(self, kind: Kind, name: str) -> bool:
        """Whether a store exists and is complete."""
        url = self.url_of(kind, name)
        if kind == "comparisons":
            return exists(f"{url}/compare.png", self.storage_options)  # which is written last
        if stamp_of(url, self.storage_options) is None:
            return False
        return bool(describe(url, self.storage_options).get("complete"))

    def find(self, kind: Kind, name: str) -> str:
        """Return the URL of an existing store.

        Raises
        ------
        RefusedError
            If there is no such store.
        """
        self.stamp(kind, name)
        return self.url_of(kind, name)

    def check_complete(self, kind: Kind, name: str) -> None:
        """Check that a store exists and is complete.

        Raises
        ------
        RefusedError
            If there is no such store, or it is not complete.
        """
        self.stamp(kind, name)
        if not self.is_complete(kind, name):
            raise RefusedError(
                409,
                f"{_KINDS[kind][0]} {name!r} is not complete; wait for the job that makes it, or resume that job.",
            )

    def check_stamp(self, kind: Kind, name: str, stamp: str) -> None:
        """Check that a store is still the one of a `stamp`, after it was read.

        Raises
        ------
        RefusedError
            If it was replaced, extended or removed meanwhile.
        """
        if stamp_of(self.url_of(kind, name), self.storage_options, root=_KINDS[kind][2]) != stamp:
            raise RefusedError(409, f"{_KINDS[kind][0]} {name!r} was replaced or removed while it was read; ask again.")

    def check_writable(self, kind: Kind, name: str) -> None:
        """Check that writing a store would change nothing outside the catalogue.

        Raises
        ------
        RefusedError
            If the store is a symbolic link.
        """
        if is_link(self.url_of(kind, name)):
            raise RefusedError(
                409,
                f"{_KINDS[kind][0]} {name!r} is a link, and what it leads to is not written; choose another name, or "
                "delete the link first.",
            )

    def note_maker(self, kind: Kind, name: str, job: str, user: str | None) -> None:
        """Keep beside a store which job has just made it, and whose that was."""
        record = {"stamp": self.stamp(kind, name), "job": job, "user": user}
        write_record(self._maker(kind, name), record, self.storage_options)

    def maker_of(self, kind: Kind, name: str) -> str | None:
        """Return the name of who made a store, None if nobody knows, or if it was changed since."""
        name = name.partition(":")[0]  # mappings that were trained together have one maker
        record = read_record(self._maker(kind, name), self.storage_options) or {}
        return record.get("user") if record.get("stamp") == self.stamp(kind, name) else None

    def _maker(self, kind: Kind, name: str) -> str:
        return f"{self.url_of(kind, name)}.made"

    def missing(self, kind: Kind, name: str) -> RefusedError:
        """Return the error for a store that does not exist."""
        there = self.names(kind)
        has = f"it has {', '.join(there[:8])}{', ...' * (len(there) > 8)}" if there else "it has none"
        return RefusedError(404, f"there is no {_KINDS[kind][0]} {name!r} in the catalogue; {has}.")

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a store, or the link to one; if that is interrupted, the rest counts as incomplete."""
        url = self.find(kind, name)
        remove_store(url, self.storage_options, root=_KINDS[kind][2])
        for beside in (run_url(url), self._maker(kind, name)):
            remove_record(beside, self.storage_options)

    def sources(self) -> list[str]:
        """Return the names of the folders and archives of photographs that can be ingested."""
        entries = list_names(f"{self.url}/sources", self.storage_options)
        return [name for name in entries if re.fullmatch(SOURCE_PATTERN[1:-1], name)]

    def source(self, path: str) -> str:
        """Return the URL of photographs to ingest.

        Raises
        ------
        ParameterError
            If the path could lead out of ``sources/``.
        RefusedError
            If nothing is there.
        """
        if not re.fullmatch(SOURCE_PATTERN[1:-1], path):
            raise ParameterError(
                f"{path[:80]!r} is not a path below the catalogue's sources/; give one such as 'london'."
            )
        url = f"{self.url}/sources/{path}"
        if is_local(self.url) and not Path(url).resolve().is_relative_to(Path(self.url, "sources").resolve()):
            raise ParameterError(
                f"{path!r} is a link that leads out of the catalogue's sources/; copy the files there."
            )
        if not exists(url, self.storage_options):
            raise RefusedError(404, f"there is no {path!r} in the catalogue's sources/; put photographs there first.")
        return url

    def free_bytes(self) -> int | None:
        """Return the free bytes on the disk of a local catalogue, None for any other."""
        return shutil.disk_usage(self.url).free if is_local(self.url) else None


def not_of_mrdist(kind: Kind, name: str, error: ValidationError) -> str:
    """Return what is told of a store whose description has values that none of mrdist's has."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return (
        f"the description of {_KINDS[kind][0]} {name!r} has {str(first.get('input'))[:80]!r} as its {where}, which "
        "is not of mrdist; make it again."
    )
