"""Pack a store into one file for download."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator

from mrdist.errors import StoreError
from mrdist.storage import Source, StorageOptions, redact
from mrdist.storage.access.urls import store_errors

_PIECE = 1 << 20

_LOCAL, _CENTRAL, _END = 30 + 20 + 24, 46, 22  # header with its sizes of 64 bits and what follows the file; entry; end
_EXTRA, _LONG, _END_64 = 4, 8, 56 + 20  # of what does not fit into 32 bits: head of the extra field, a number; the end


def packed_length(url: str, name: str, storage_options: StorageOptions = None) -> int:
    """Return the number of bytes that `pack` yields, of whatever size; parameters are those of `pack`."""
    source = Source.open(url, storage_options)
    start = entries = 0  # of the next file, and bytes of the directory at the end
    with store_errors(redact(url)):
        for path in source.files:
            size, spelt = source.file(path).size(), len(f"{name}/{path}".encode())
            n_long = 2 * (size > zipfile.ZIP64_LIMIT) + (start > zipfile.ZIP64_LIMIT)
            entries += _CENTRAL + spelt + (_EXTRA + n_long * _LONG if n_long else 0)
            start += _LOCAL + spelt + size
    is_long = max(start, entries) > zipfile.ZIP64_LIMIT or len(source.files) > zipfile.ZIP_FILECOUNT_LIMIT
    return start + entries + _END + (_END_64 if is_long else 0)


def pack(url: str, name: str, storage_options: StorageOptions = None) -> Iterator[bytes]:
    """Yield a zip of all files of a store below a folder ``name``, piece by piece; they are packed as they are.

    Parameters
    ----------
    url
        The store.
    name
        Of the folder in the zip.
    storage_options
        Options of the fsspec filesystem.

    Raises
    ------
    DataError, StoreError
        If the store cannot be listed or read, or holds links that lead out of it, which are not followed.
    """
    source = Source.open(url, storage_options)
    if source.refused:
        left_out, reason = next(iter(source.refused.items()))
        raise StoreError(f"{left_out} of {redact(url)} cannot be packed: {reason.partition(':')[0]}.")
    return _pieces(source, name)


def _pieces(source: Source, name: str) -> Iterator[bytes]:
    written = _Written()
    with zipfile.ZipFile(written, "w") as archive:  # type: ignore[call-overload]
        for path in source.files:
            with (
                store_errors(f"{redact(source.url)}/{path}"),
                source.file(path).open(most=math.inf) as stream,
                archive.open(zipfile.ZipInfo(f"{name}/{path}"), "w", force_zip64=True) as entry,
            ):
                while piece := stream.read(_PIECE):
                    entry.write(piece)
                    yield from written.take()
            yield from written.take()
    yield from written.take()


class _Written:
    """A buffer that a zip writes to, emptied before it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return [b"".join(pieces)] if pieces else []
