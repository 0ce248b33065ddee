"""Parts of files, for clients that go on where a download broke off (RFC 9110, Range)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mrdist.service.refusals import RefusedError

_RANGE = re.compile(r"bytes=([0-9]{0,20})-([0-9]{0,20})")


def range_of(asked: str, version: str | None, length: int, etag: str) -> tuple[int, int] | None:
    """Return the first byte that is asked for and the one after the last, None if that is the whole file.

    Several ranges, and those of another version than the client has begun with, are answered by the whole, as the
    standard allows.

    Parameters
    ----------
    asked, version
        Range of a request, and its If-Range, if any.
    length, etag
        Of the file.

    Raises
    ------
    RefusedError
        If the file has no such bytes.

    Examples
    --------
    >>> range_of("bytes=5-", None, 9, "v1"), range_of("bytes=-3", "v1", 9, "v1"), range_of("bytes=5-", "v0", 9, "v1")
    ((5, 9), (6, 9), None)
    """
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or not any(found.groups()) or version not in (None, etag):
        return None
    first, last = found.groups()
    start = max(length - int(last), 0) if first == "" else int(first)
    stop = length if first == "" or last == "" else min(int(last) + 1, length)
    if start >= length or stop <= start:
        raise RefusedError(
            416,
            f"the file has {length} bytes, so there are none of the range {asked[:80]!r}.",
            {"content-range": f"bytes */{length}"},
        )
    return start, stop


def cut(pieces: Iterator[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``stop`` of what pieces make together.

    Pieces before them are yielded as nothing, so that a client that goes away meanwhile is noticed.

    Examples
    --------
    >>> b"".join(cut(iter([b"abc", b"def", b"ghi"]), 2, 7))
    b'cdefg'
    """
    at = 0
    for piece in pieces:
        if at >= stop:
            return
        yield piece[max(start - at, 0) : stop - at]
        at += len(piece)
