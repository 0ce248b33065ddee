"""Files of photographs and landmarks: on disk, in object storage, or members of an archive.

Nothing outside the given folder or archive is read, unless links of a folder are to be followed. An archive is refused
if a member is a link or leads out of it, or if it would unpack to far more than its own size.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mrdist.errors import DataError, MrdistError, StoreError
from mrdist.storage.access.remote import (
    StorageOptions,
    asking_bucket,
    filesystem_of,
    is_local,
    normalize_url,
    open_stream,
    redact,
    redact_text,
    refusal,
    shown,
)
from mrdist.storage.access.retries import patiently

#: Largest file of somebody that is read, in bytes, and how many times its own size an archive may unpack to.
MAX_FILE_BYTES = 1 << 30
MAX_RATIO = 100
_ARCHIVES = (".zip", ".tar")
_PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
#: What operating systems leave in folders.
_LITTER = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin"})
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, NotImplementedError, EOFError)


@dataclass(frozen=True)
class File:
    """A file that any process can read.

    Attributes
    ----------
    url
        Its path or fsspec URL, or those of the archive that holds it.
    member
        Its name in the archive; empty for a file of its own.
    storage_options
        Of the fsspec filesystem.
    """

    url: str
    member: str = ""
    storage_options: StorageOptions = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> File:
        """Return the file at a path or URL, or the file itself.

        Examples
        --------
        >>> File.of("s3://faces/001_03.jpg").name
        '001_03.jpg'
        """
        return path if isinstance(path, File) else cls(normalize_url(os.fspath(path)))

    def __str__(self) -> str:
        return f"{redact(self.url)}/{self.member}" if self.member else redact(self.url)

    def __fspath__(self) -> str:
        return str(self)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.member or redact(self.url)).name

    @property
    def suffix(self) -> str:
        """Extension with its dot, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @contextmanager
    def open(self, *, most: float = MAX_FILE_BYTES) -> Iterator[IO[bytes]]:
        """Open for reading; hardly more is fetched than is read.

        Parameters
        ----------
        most
            Largest size in bytes; infinite for files of our own.

        Raises
        ------
        OSError
            The file is missing, damaged, or larger than ``most``.
        """
        try:
            if self.member:
                with _open_member(_archive_at(self.url, self.storage_options), self.member, most) as stream:
                    yield stream
            elif is_local(self.url):
                with Path(self.url).open("rb") as stream:
                    _check_size(stream.seek(0, io.SEEK_END), most)
                    stream.seek(0)
                    yield stream
            else:
                with (
                    _remote_errors(self.url),
                    open_stream(self.url, self.storage_options, block_size=1 << 18) as stream,
                ):
                    _check_size(stream.size, most)
                    yield stream
        except _DAMAGE as error:
            raise OSError(f"the archive is damaged or packed in an unknown way ({error})") from error

    def size(self) -> int:
        """Return the number of bytes of a file of its own, not of a member; raises what `open` raises."""
        if is_local(self.url):
            return Path(self.url).stat().st_size
        with _remote_errors(self.url):
            filesystem, path = filesystem_of(self.url, self.storage_options)
            return int(patiently(lambda: filesystem.info(path))["size"])

    def read_bytes(self) -> bytes:
        """Return the whole content; raises what `open` raises."""
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True)
class Source:
    """A folder of files, or an archive.

    Attributes
    ----------
    url
        Path or fsspec URL of the folder or archive.
    files
        Names below it with ``/`` between the parts, in order; hidden ones are left out.
    refused
        Names of files that are not read -> the reason.
    storage_options
        Of the fsspec filesystem.
    members
        Name -> how the archive spells it, where it does so otherwise: with backslashes, say.
    """

    url: str
    files: tuple[str, ...]
    refused: dict[str, str]
    storage_options: StorageOptions = field(default=None, repr=False)
    members: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def open(
        cls, url: str | os.PathLike[str], storage_options: StorageOptions = None, *, follow_links: bool = False
    ) -> Source:
        """List a folder or an archive (zip, or tar that is not compressed), wherever fsspec can find it.

        Parameters
        ----------
        url, storage_options
            Where.
        follow_links
            Whether links of a local folder that lead out of it are read, too.

        Raises
        ------
        DataError
            There is no such folder or archive, or the archive is not safe to read.
        """
        url = normalize_url(os.fspath(url))
        refused: dict[str, str] = {}
        members: dict[str, str] = {}
        names: Iterable[str]
        try:
            if url.lower().endswith(_PACKED_TARS):
                raise DataError(
                    f"Archive {redact(url)} is compressed as a whole, so its members cannot be read one by one: unpack "
                    "it, or give a zip or a plain tar."
                )
            if url.lower().endswith(_ARCHIVES) and not (is_local(url) and Path(url).is_dir()):
                names = members = _members(_archive_at(url, storage_options), redact(url))
            elif is_local(url):
                names = _walk(Path(url), refused, follow_links=follow_links)
            else:
                with _remote_errors(url), asking_bucket(url, storage_options):
                    filesystem, root = filesystem_of(url, storage_options)
                    filesystem.invalidate_cache()
                    names = [path.removeprefix(root).lstrip("/") for path in patiently(lambda: filesystem.find(root))]
                if not names:
                    raise FileNotFoundError(url)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(
                f"There is no folder or archive {redact(url)}: give the one that holds the photographs."
            ) from shown(error, url)
        except (OSError, ImportError, ValueError, *_DAMAGE) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{redact(url)} cannot be listed ({redact_text(str(error))}): check the address."
            ) from shown(error, url)
        other = {name: member for name, member in members.items() if name != member}
        return cls(url, tuple(sorted(filter(_is_shown, names))), refused, storage_options, other)

    def __str__(self) -> str:
        return redact(self.url)

    @property
    def name(self) -> str:
        """Name of the folder, or of the archive without its extension."""
        name = PurePosixPath(self.url)
        return name.stem if self._is_archive else name.name

    @property
    def _is_archive(self) -> bool:
        return self.url.lower().endswith(_ARCHIVES) and not (is_local(self.url) and Path(self.url).is_dir())

    def file(self, name: str) -> File:
        """Return one of `files`."""
        if self._is_archive:
            return File(self.url, self.members.get(name, name), self.storage_options)
        return File(f"{self.url}/{name}", storage_options=self.storage_options)


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") or part.casefold() in _LITTER for part in PurePosixPath(name).parts)


def _walk(root: Path, refused: dict[str, str], *, follow_links: bool) -> list[str]:
    """Return the files below a folder; links that lead out of it are refused, or followed if so asked."""
    if not root.is_dir():
        raise NotADirectoryError(root)
    top = root.resolve()
    names, folders, entered = [], [root], {top}
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except PermissionError:
            if folder == root:
                raise
            refused[folder.relative_to(root).as_posix()] = "a folder without read permission"
            continue
        for entry in entries:
            path = Path(entry.path)
            relative = path.relative_to(root).as_posix()
            leads_out = entry.is_symlink() and not path.resolve().is_relative_to(top)
            if leads_out and not follow_links:
                refused[relative] = (
                    f"a link that leads out of {root}: --follow-links reads it, if you trust where it leads"
                )
            elif entry.is_file():
                names.append(relative)
            elif not entry.is_dir():
                if entry.is_symlink():
                    refused[relative] = "a broken link"
            elif not entry.is_symlink():
                folders.append(path)
            elif leads_out and path.resolve() not in entered:  # a folder inside is read where it lies
                entered.add(path.resolve())
                folders.append(path)
    return names


Archive = zipfile.ZipFile | tarfile.TarFile


def _archive_at(url: str, options: StorageOptions) -> Archive:
    with _remote_errors(url), asking_bucket(url, options):
        filesystem, path = filesystem_of(url, options)
        key = tuple(sorted((name, repr(value)) for name, value in (options or {}).items()))
        version = patiently(lambda: filesystem.ukey(path))
        return _open_archive(_Place(url, options), key, version, threading.get_ident())


@contextmanager
def _remote_errors(url: str) -> Iterator[None]:
    """Turn what clients of object stores raise into a StoreError if the store refuses, or else into an OSError."""
    try:
        yield
    except Exception as error:
        if is_local(url) or isinstance(error, MrdistError | GeneratorExit):
            raise
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError("there is no such file") from shown(error, url)
        sentence = refusal(url, error)
        if sentence is not None:  # a fault of the store, not of this one file
            raise StoreError(sentence) from shown(error, url)
        if isinstance(error, (OSError, ValueError, *_DAMAGE)) and redact_text(str(error)) == str(error):
            raise
        raise OSError(redact_text(str(error))) from shown(error, url)


@dataclass(frozen=True)
class _Place:
    """Where an archive lies; two are equal by the URL, so that the cache goes by the other arguments too."""

    url: str
    options: StorageOptions = field(repr=False, compare=False)


@lru_cache(maxsize=16)
def _open_archive(place: _Place, options: tuple[tuple[str, str], ...], version: str, thread: int) -> Archive:  # noqa: ARG001
    """Open an archive once for all members that a thread reads: two threads would move each other's place in it."""
    stream = open_stream(place.url, place.options)
    return zipfile.ZipFile(stream) if place.url.lower().endswith(".zip") else tarfile.open(fileobj=stream, mode="r:")


def _members(archive: Archive, name: str) -> dict[str, str]:
    """Return the files in an archive, each by its name with ``/`` between the parts, or refuse all of it."""
    total = 0
    names = {}
    for member in archive.infolist() if isinstance(archive, zipfile.ZipFile) else archive.getmembers():
        if isinstance(member, zipfile.ZipInfo):
            path, size = member.filename, member.file_size
            is_link, is_file = stat.S_ISLNK(member.external_attr >> 16), not member.is_dir()
        else:
            path, size = member.name, member.size
            is_link, is_file = member.issym() or member.islnk(), member.isfile()
        parts = PurePosixPath(path.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or parts.as_posix()[1:2] == ":":
            raise DataError(
                f"Archive {name} holds {path!r}, which leads out of it: unpack it yourself if you trust it."
            )
        if is_link:
            raise DataError(
                f"Archive {name} holds the link {path!r}, and links in archives are not followed: unpack it yourself."
            )
        total += size
        # zips of Windows have "\\" between the parts; elsewhere it may belong to a name
        if is_file and not (isinstance(archive, zipfile.ZipFile) and path.endswith("\\")):
            names[(parts if isinstance(archive, zipfile.ZipFile) else PurePosixPath(path)).as_posix()] = path
    stream: Any = archive.fp if isinstance(archive, zipfile.ZipFile) else archive.fileobj
    packed = stream.seek(0, io.SEEK_END)  # and not the sum over members, which may share bytes
    if total > MAX_RATIO * packed:
        raise DataError(
            f"Archive {name} would unpack from {packed} to {total} bytes, more than {MAX_RATIO} times as much, as a "
            "decompression bomb does: unpack it yourself if you trust it."
        )
    return names


@contextmanager
def _open_member(archive: Archive, name: str, most: float) -> Iterator[IO[bytes]]:
    try:
        if isinstance(archive, zipfile.ZipFile):
            _check_size(archive.getinfo(name).file_size, most)
            stream: IO[bytes] | None = archive.open(name)
        else:
            _check_size(archive.getmember(name).size, most)
            stream = archive.extractfile(name)
    except KeyError as error:
        raise FileNotFoundError(f"there is no {name} in the archive") from error
    except RuntimeError as error:  # a password is needed
        raise OSError(str(error)) from error
    assert stream is not None
    with stream:
        yield stream


def _check_size(size: int, most: float) -> None:
    if size > most:
        raise OSError(f"it has {size} bytes, the limit is {most}")
