"""Groups of mappings: one weights store for each, in a folder that says what belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mrdist.arguments import Address
from mrdist.errors import StoreExistsError
from mrdist.storage.access.urls import (
    StorageOptions,
    check_format,
    check_same,
    clear_output,
    create_group,
    describe,
    find_store,
    normalize_url,
    open_group,
    open_kind,
    redact,
    remove_partial_files,
    store_errors,
)

_RESUME = "run the command that makes it again to resume it"


def mapping_name(source: str, target: str) -> str:
    """Return the name of a mapping's store in its group; labels are identifiers, so the name is unique.

    Examples
    --------
    >>> mapping_name("neutral", "happy")
    'neutral-happy'
    """
    return f"{source}-{target}"


def mapping_url(group_url: str, name: str) -> str:
    """Return the URL of a mapping's weights store.

    Examples
    --------
    >>> mapping_url("s3://bucket/faces", "neutral-happy")
    's3://bucket/faces/neutral-happy'
    """
    return f"{normalize_url(group_url)}/{name}"


@dataclass(frozen=True)
class MappingGroup:
    """A complete group of mappings.

    Attributes
    ----------
    url, storage_options
        Where.
    attributes
        The attribute ``mrdist`` of the group.
    """

    url: str
    storage_options: StorageOptions = field(repr=False)
    attributes: Mapping[str, Any]

    @classmethod
    def open(cls, url: Address, storage_options: StorageOptions = None) -> MappingGroup:
        """Open a group.

        Raises
        ------
        StoreNotFoundError, StoreFormatError, StoreIncompleteError
            If there is none, of this format, or its training is not finished.
        """
        url = normalize_url(url)
        return cls(url, storage_options, check_format(open_kind(url, storage_options, "mappings", _RESUME), url))

    @property
    def urls(self) -> dict[str, str]:
        """Name of a mapping -> URL of its weights store, in the order in which they were asked for."""
        return {name: mapping_url(self.url, name) for name in self.attributes["mappings"]}


def is_group(url: str, storage_options: StorageOptions) -> bool:
    """Whether a group of mappings, finished or not, is at ``url``; errors are those of `describe`."""
    return bool(describe(url, storage_options)["kind"] == "mappings")


def begin_mappings(
    url: str,
    trainings: Mapping[str, Mapping[str, Any]],
    *,
    overwrite: bool,
    codec: str | None = None,
    storage_options: StorageOptions = None,
) -> bool:
    """Start a group, or resume that of the same trainings.

    Parameters
    ----------
    url, storage_options
        Where.
    trainings
        Name of a mapping -> everything that decides its weights, as JSON values.
    overwrite
        Remove any store of mrdist that is there.
    codec
        Of the stores of its mappings.

    Returns
    -------
    bool
        False if the group is already complete.

    Raises
    ------
    StoreExistsError
        If ``url`` holds the output of other trainings, or something else.
    """
    existing = None if overwrite else find_store(url, storage_options)
    if existing is not None:
        _check_trainings(url, existing, trainings)
        remove_partial_files(url)
        return not existing["complete"]
    clear_output(url, storage_options, kind="mappings", overwrite=overwrite)
    described = {name: dict(training) for name, training in trainings.items()}
    create_group(url, storage_options, "mappings", codec=codec, mappings=list(trainings), trainings=described)
    return True


def _check_trainings(url: str, existing: Mapping[str, Any], trainings: Mapping[str, Mapping[str, Any]]) -> None:
    if existing["kind"] != "mappings":
        raise StoreExistsError(
            f"{redact(url)} already holds {existing['kind']}; use --overwrite (overwrite=True) or another address."
        )
    for name in dict.fromkeys([*existing["mappings"], *trainings]):
        there, here = (("trained" if name in names else "not") for names in (existing["mappings"], trainings))
        check_same(url, "group of mappings", {name: there}, {name: here})
    for name, training in trainings.items():
        check_same(mapping_url(url, name), "training", existing["trainings"][name], training)


def finish_mappings(
    url: str,
    scores: Mapping[str, Mapping[str, float | None]],
    provenance: Mapping[str, Any],
    storage_options: StorageOptions = None,
) -> None:
    """Mark a group complete, with the scores of every mapping; all its stores must be."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        group.attrs["mrdist"] = {
            **check_format(group, url),
            "complete": True,
            "scores": {"train": {name: dict(values) for name, values in scores.items()}},
            "provenance": dict(provenance),
        }
