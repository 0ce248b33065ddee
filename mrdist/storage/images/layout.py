"""What makes a zarr group an images store: the arrays it must have, and the shapes of those it may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import zarr

from mrdist.errors import DataError, ParameterError
from mrdist.storage.access.remote import redact
from mrdist.storage.images.links import LinkedStore
from mrdist.values import unit_of

DIMENSIONS = ("image", "y", "x", "channel")
RESERVED = {*DIMENSIONS, "subject", "dataset", "split", "label", "present", "checksum", "face_mask", "all"}
#: What `mrdist.storage.images.alignment` adds.
RESERVED |= {"reference_points", "mean_face", "photograph", "photograph_size", "warp", "measure", "quality"}
RESERVED |= {"there", "incomplete"}  # what links add: pixels that some image has, and that some have and others miss
RESERVED |= {"point", "xy", "node_y", "node_x", "extent", "reference_point"}

#: What `mrdist.storage.images.landmarks` adds.
LANDMARKS = {"landmarks": ("image", "label", "point", "xy"), "landmark_confidence": ("image", "label")}
RESERVED |= {*LANDMARKS}

OPTIONAL = {
    **dict.fromkeys(("image", "subject", "dataset", "split"), ("image",)),
    **dict.fromkeys(("present", "checksum"), ("image", "label")),
    "face_mask": ("y", "x"),
    **dict.fromkeys(("there", "incomplete"), ("label", "y", "x")),
    "mean_face": ("label", "y", "x", "channel"),
    **LANDMARKS,
}


def arrays_of_rows(split: str) -> tuple[str, ...]:
    """Return the names of the arrays that say which rows belong to a split."""
    return ("present",) if split == "all" else ("present", "split")


def labels_of(group: zarr.Group, attribute: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels that the attribute ``mrdist`` names, or else the names of all arrays that look like images."""
    if "labels" in attribute:
        named = attribute["labels"]
        return tuple(map(str, named)) if isinstance(named, list | tuple) else (str(named),)
    return tuple(
        sorted(name for name, array in group.arrays() if array.ndim == len(DIMENSIONS) and name not in RESERVED)
    )


def layout_problems(url: str, group: zarr.Group, attribute: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each problem that keeps a group from being read as images; no pixel is read."""
    place, labels = redact(url), labels_of(group, attribute)
    linked = LinkedStore.of(attribute, place)
    if linked is not None:
        yield from _coordinate_problems(place, group, labels, linked.shape)
        return
    if not labels:
        yield (
            f"{place} has no array of images; write one with the axes {_axes(DIMENSIONS)} for each label, for "
            "instance neutral and happy."
        )
    arrays = {}
    for label in dict.fromkeys(labels):
        array = group.get(label)
        if not isinstance(array, zarr.Array):
            yield (
                f"{place} lacks the array {label!r}, which 'labels' in its attribute 'mrdist' names; write the array, "
                "or remove the label."
            )
            continue
        problem = _problem_of(place, label, array)
        if problem is None:
            arrays[label] = array
        else:
            yield problem
    if not arrays:
        return
    first, images = next(iter(arrays.items()))
    for label, array in arrays.items():
        if (array.shape, array.dtype) != (images.shape, images.dtype):
            yield (
                f"all labels of {place} must agree, but {first!r} has shape {images.shape} and dtype {images.dtype} "
                f"and {label!r} {array.shape} and {array.dtype}; write the store again."
            )
    yield from _coordinate_problems(place, group, labels, images.shape)


def _coordinate_problems(
    place: str, group: zarr.Group, labels: tuple[str, ...], shape: tuple[int, ...]
) -> Iterator[str]:
    sizes = dict(zip(DIMENSIONS, shape, strict=True)) | {"label": len(labels), "xy": 2}
    for name, axes in OPTIONAL.items():
        array = group.get(name)
        if name in labels or not isinstance(array, zarr.Array):
            continue
        # any number of points will do
        wanted = tuple(sizes.get(axis, array.shape[n] if n < array.ndim else 1) for n, axis in enumerate(axes))
        if array.shape != wanted:
            yield (
                f"the array {name!r} of {place} has shape {array.shape}, but must have {wanted} for the axes "
                f"{_axes(axes)}; correct it, or remove it."
            )


def _problem_of(place: str, label: str, array: zarr.Array[Any]) -> str | None:
    names = tuple(array.metadata.to_dict().get("dimension_names") or ())  # type: ignore[arg-type]
    what = f"the array {label!r} of {place}"
    if array.ndim != len(DIMENSIONS):
        of = " of length 1 (array[..., np.newaxis])" if array.ndim == len(DIMENSIONS) - 1 else ""
        last = f"give gray images a last axis{of}" if of else "write it with these"
        return f"{what} has shape {array.shape}, but must have the axes {_axes(DIMENSIONS)}; {last}."
    if sorted(map(str, names)) == sorted(DIMENSIONS) and names != DIMENSIONS:
        return f"{what} has the axes {_axes(names)}, but must have {_axes(DIMENSIONS)}; transpose it."
    if 0 in array.shape:
        return f"{what} is empty, of shape {array.shape}; write at least one image."
    try:
        unit_of(array.dtype)
    except (DataError, TypeError):
        return f"{what} holds {array.dtype}, but images must be uint8, uint16 or floats in 0..1; convert it."
    return None


def _axes(names: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, names))})"


def check_sizes(name: str, sizes: Any, axes: str) -> None:
    """Make sure that there is a positive whole number for each of the axes, such as "rows and columns".

    Raises
    ------
    ParameterError
        If there is not.
    """
    numbers = sizes if isinstance(sizes, list | tuple) else ()
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if not whole or len(numbers) != len(axes.replace(" and", ",").split(",")):
        raise ParameterError(f"{name} must be whole numbers of {axes}, got {sizes!r}.")
    if min(numbers) < 1:
        raise ParameterError(f"{name} must be positive, got {sizes}.")
