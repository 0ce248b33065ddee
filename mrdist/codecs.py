"""Names of the codecs by which mrdist compresses the chunks that it writes; what they are in zarr, storage says."""

from __future__ import annotations

from collections.abc import Mapping

from mrdist.errors import ParameterError

DEFAULT_CODEC = "zstd:1"
CODECS: Mapping[str, str] = {
    "none": "no compression",
    "lz4": "",
    "zstd": f"the same as {DEFAULT_CODEC}",
    **{f"zstd:{level}": "" for level in range(-5, 10) if level},
}
"""Name -> what it means, empty where the name says it."""
CODECS_TOLD = "none, lz4, zstd or zstd:LEVEL, a level from -5 to -1 or from 1 to 9"
"""All names in words."""


def check_codec(codec: str | None) -> str | None:
    """Return the name of a codec under which stores keep it.

    Raises
    ------
    ParameterError
        If there is no such codec.

    Examples
    --------
    >>> check_codec("lz4"), check_codec("zstd"), check_codec(None)
    ('lz4', 'zstd:1', None)
    >>> check_codec("zstd:0")
    Traceback (most recent call last):
    mrdist.errors.ParameterError: codec must be none, lz4, zstd or zstd:LEVEL, a level from -5 to -1 or from 1 to 9, \
got 'zstd:0'.
    """
    if codec is not None and str(codec) not in CODECS:  # whatever it is
        raise ParameterError(f"codec must be {CODECS_TOLD}, got {codec!r}.")
    return DEFAULT_CODEC if codec == "zstd" else codec
