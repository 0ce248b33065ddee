"""What a linked store says of arrays that lie elsewhere: where they are, and what their values mean; fit for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import StoreFormatError
from mrdist.values import unit_of

PIXELS = ("image", "y", "x", "channel")


@dataclass(frozen=True)
class OwnUnits:
    """What 0 and 1 of the pixels of a label mean.

    Attributes
    ----------
    low, high
        Values of pixels that are 0 and 1.
    name
        Of the unit; empty if nobody said.
    """

    low: float
    high: float
    name: str

    @classmethod
    def of(cls, described: Mapping[str, Any] | None) -> OwnUnits | None:
        """Return what `to_dict` described, None of nothing."""
        return (
            None
            if described is None
            else cls(float(described["range"][0]), float(described["range"][1]), str(described["units"]))
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return {"range": [self.low, self.high], "units": self.name}

    @property
    def range(self) -> tuple[float, float]:
        """Values of pixels that are 0 and 1."""
        return self.low, self.high

    @property
    def scale(self) -> str:
        """What 0 and 1 of a pixel mean, for the axis of a figure.

        Examples
        --------
        >>> OwnUnits(250.0, 320.0, "K").scale
        '0 = 250 K, 1 = 320 K'
        """
        return ", ".join(f"{n} = {value:.6g} {self.name}".rstrip() for n, value in enumerate(self.range))

    def values(self, pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return pixels in these units, clipped to the range.

        Examples
        --------
        >>> OwnUnits(250.0, 320.0, "K").values(np.array([0.0, 0.5, 2.0])).tolist()
        [250.0, 285.0, 320.0]
        """
        shares = np.clip(pixels, 0, 1).astype(np.float64)
        values: npt.NDArray[np.float32] = (self.low + (self.high - self.low) * shares).astype(np.float32)
        # rounded to float32, the ends of the range may lie outside it
        low, high = sorted((self.low, self.high))
        values[values < low] = np.nextafter(np.float32(low), np.float32(np.inf))
        values[values > high] = np.nextafter(np.float32(high), np.float32(-np.inf))
        return values


@dataclass(frozen=True)
class Link:
    """Where the pixels of a label lie, and what its values mean; all of it fit for JSON.

    Attributes
    ----------
    address
        Of the array.
    options
        Of its filesystem, without secrets.
    dims
        What each dimension of the array is: image, y, x, channel, or another name of which one index is taken.
    select
        For these others the index; for one of the four, first index and the one after the last.
    dtype
        Of the array.
    range
        Values, as they lie in the array, that become 0 and 1.
    scale_factor, add_offset, units
        Values in the label's own units are ``scale_factor * value + add_offset``.
    missing
        Values that stand for nothing, as NaN does.
    valid
        Least and largest value that do not stand for nothing; None where all are valid.
    fill
        Whether a chunk that is not there holds the fill value.
    factor
        How many pixels of the store a value covers, along rows and columns.
    fingerprint, since
        Of the array's metadata, and the time in nanoseconds, when it was linked.
    listing, newest
        Hash of what an object store told of the array's chunks then, and when the youngest was written by its clock;
        empty where it told nothing.
    mark
        Of a copy, what tells its images from those of other arrays; empty where address, metadata and time do.
    """

    address: str
    options: Mapping[str, Any]
    dims: tuple[str, ...]
    select: Mapping[str, int | tuple[int, int]]
    dtype: str
    range: tuple[float, float]
    scale_factor: float = 1.0
    add_offset: float = 0.0
    units: str = ""
    missing: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    fill: bool = False
    factor: int = 1
    fingerprint: str = ""
    since: int | None = None
    listing: str = ""
    newest: str = ""
    mark: str = ""

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Link:
        """Return what `to_dict` described."""
        known = {name: value for name, value in described.items() if name in cls.__dataclass_fields__}
        for name in ("dims", "range", "missing", "valid"):
            known[name] = tuple(known[name]) if known.get(name) is not None else None
        known["select"] = {k: tuple(v) if isinstance(v, list) else v for k, v in known["select"].items()}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return asdict(self)

    def seen_from(self, url: str) -> Link:
        """Return the link of a store at a URL, which may hold the array itself."""
        return replace(self, address=f"{url}/{self.address[2:]}") if self.address.startswith("./") else self

    @property
    def own_range(self) -> tuple[float, float]:
        """What becomes 0 and 1, in the label's own units."""
        low, high = self.range
        return self.scale_factor * low + self.add_offset, self.scale_factor * high + self.add_offset

    @property
    def meaning(self) -> OwnUnits:
        """What 0 and 1 mean."""
        return OwnUnits(*self.own_range, self.units)

    @property
    def may_miss(self) -> bool:
        """Whether there may be values that stand for nothing."""
        return np.dtype(self.dtype).kind == "f" or bool(self.missing) or self.valid is not None

    @property
    def pixel_dtype(self) -> np.dtype[Any]:
        """The dtype of images that holds its values unchanged: float32 where they are to be rounded."""
        dtype: np.dtype[Any] = np.dtype(self.dtype).newbyteorder("=")
        low, high = self.range
        if dtype.kind == "b" and low == 0 and high == 1:
            return np.dtype(np.uint8)
        if dtype in (np.uint8, np.uint16) and low == 0 and high == unit_of(dtype):
            return dtype
        return np.dtype(np.float32)


@dataclass(frozen=True)
class LinkedStore:
    """What an images store says of arrays that lie elsewhere.

    Attributes
    ----------
    shape
        Of all labels: image, y, x, channel.
    dtype, chunks
        Of images as they are read.
    links
        By label.
    """

    shape: tuple[int, int, int, int]
    dtype: str
    chunks: tuple[int, int, int, int]
    links: Mapping[str, Link] = field(default_factory=dict)

    @classmethod
    def of(cls, attribute: Mapping[str, Any], place: str) -> LinkedStore | None:
        """Return what the attribute ``mrdist`` says, None of a store that holds its pixels.

        Raises
        ------
        StoreFormatError
            If it is damaged.
        """
        described = attribute.get("linked")
        if described is None:
            return None
        try:
            return cls(
                tuple(described["shape"]),
                str(np.dtype(described["dtype"])),
                tuple(described["chunks"]),
                {label: Link.from_dict(each) for label, each in described["arrays"].items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreFormatError(
                f"{place} does not say in 'linked' where its arrays lie, or not fully; link it again."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        arrays = {label: link.to_dict() for label, link in self.links.items()}
        return {"shape": self.shape, "dtype": self.dtype, "chunks": self.chunks, "arrays": arrays}
