"""Pack a store into one file for download."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from mrdist.errors import StoreError
from mrdist.storage import Source, StorageOptions, redact
from mrdist.storage.access.urls import store_errors

_PIECE = 1 << 20


_LARGEST = zipfile.ZIP64_LIMIT
_LOCAL, _CENTRAL, _END = 30 + 20 + 24, 46, 22  # header with its sizes of 64 bits and what follows the file; entry; end


def packed_length(url: str, name: str, storage_options: StorageOptions = None) -> int | None:
    """Return the number of bytes that `pack` yields, None for more than 2 GiB; parameters are those of `pack`."""
    source = Source.open(url, storage_options)
    with store_errors(redact(url)):
        sizes = [source.file(path).size() for path in source.files]
    headers = sum(_LOCAL + _CENTRAL + 2 * len(f"{name}/{path}".encode()) for path in source.files)
    length = sum(sizes) + headers + _END
    return length if length < _LARGEST and len(sizes) < zipfile.ZIP_FILECOUNT_LIMIT else None


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
                source.file(path).open() as stream,
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
