"""Retries with object stores: transient errors are retried until a deadline, permanent ones fail at once.

By default, filesystems retry a few times, for seconds; but a store that restarts, throttles or lost its network is away
for minutes. The first contact of a process has a short deadline: if nothing has ever answered, the address is more
likely wrong than the store down, and the user should hear of it within seconds. Dask's workers have the long deadline
from the start: the process that gives them work has already reached the store.
"""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from mrdist.events import emit

Result = TypeVar("Result")

PATIENCE_SECONDS = 180.0
_FIRST_CONTACT_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 10.0
_PASSING_STATUS = {408, 429, 500, 502, 503, 504}
_PASSING_CODES = {
    "BadDigest",  # damaged on the way
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
_PASSING_NUMBERS = {errno.EBUSY, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH, getattr(errno, "EREMOTEIO", -1)}
# by name, so that a store on disk imports none of the libraries that define them
_PASSING_TYPES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",
    "EndpointConnectionError",  # botocore
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "HTTPClientError",
    "IncompleteReadError",
    "ResponseParserError",
    "ResponseStreamingError",
    "FSTimeoutError",  # fsspec
}
_PERMANENT_TYPES = {"SSLError", "ClientConnectorSSLError", "ClientConnectorCertificateError"}
_answered = multiprocessing.parent_process() is not None


def may_pass(error: BaseException) -> bool:
    """Whether an error of a store is transient: the same request may succeed later.

    Examples
    --------
    >>> may_pass(ConnectionResetError("reset by peer")), may_pass(PermissionError("AccessDenied"))
    (True, False)
    """
    for cause in _causes(error):
        status, code = answer_of(cause)
        if status is not None or code is not None:  # the answer of the server decides, whatever exception it became
            return status in _PASSING_STATUS or code in _PASSING_CODES
        if isinstance(cause, FileNotFoundError | PermissionError | ssl.SSLError):
            return False
        names = {base.__name__ for base in type(cause).__mro__}
        if names & _PERMANENT_TYPES:
            return False
        if isinstance(cause, ConnectionError | TimeoutError) or names & _PASSING_TYPES:
            return True
        if isinstance(cause, OSError) and cause.errno in _PASSING_NUMBERS:
            return True
    return False


def answer_of(error: BaseException) -> tuple[int | None, str | None]:
    """Return the HTTP status and the error code of a server's answer, None where an exception carries none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode"), response.get("Error", {}).get("Code")
    status = getattr(error, "status", None)  # aiohttp
    return (status, None) if isinstance(status, int) else (None, None)


def code_of(error: BaseException) -> str | None:
    """Return the code of a server's answer, from an error or from its causes."""
    return next((code for _, code in map(answer_of, _causes(error)) if code is not None), None)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of a server's answer, from an error or from its causes."""
    return next((status for status, _ in map(answer_of, _causes(error)) if status is not None), None)


def codes_of(error: BaseException) -> set[str]:
    """Return all names of an error: codes and statuses of answers, and the classes of its causes."""
    codes: set[str] = set()
    for cause in _causes(error):
        codes |= {str(part) for part in answer_of(cause) if part is not None}
        codes |= {base.__name__ for base in type(cause).__mro__}
    return codes


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


class Waits:
    """How long to wait before the next try: twice as long each time, jittered, until a deadline.

    Parameters
    ----------
    clock
        Returns seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._next = _FIRST_WAIT_SECONDS

    def after(self, error: BaseException) -> float:
        """Return the seconds to wait after an error, or raise it if it is permanent or the deadline has passed.

        Raises
        ------
        BaseException
            ``error`` itself.
        """
        if any(answer_of(cause) != (None, None) for cause in _causes(error)):
            _note_answer()
        patience = PATIENCE_SECONDS if _answered else _FIRST_CONTACT_SECONDS
        if not may_pass(error) or self._clock() - self._began + self._next > patience:
            raise error
        emit(
            "retry", reason=type(error).__name__, status=status_of(error), waited=round(self._clock() - self._began, 3)
        )
        wait = self._next * random.uniform(0.5, 1)  # noqa: S311 (so that many workers do not retry at once)
        self._next = min(2 * self._next, _LONGEST_WAIT_SECONDS)
        return wait


def patiently(call: Callable[[], Result]) -> Result:
    """Return what ``call`` returns; call it again after a transient error."""
    waits = Waits()
    while True:
        try:
            result = call()
        except Exception as error:
            time.sleep(waits.after(error))
        else:
            _note_answer()
            return result


def expect_another_store() -> None:
    """Have the next store answer within seconds, whatever has answered before: it may be another one."""
    global _answered
    _answered = multiprocessing.parent_process() is not None


def _note_answer() -> None:
    global _answered
    _answered = True


class PatientStore(WrapperStore[Store]):
    """A store whose requests are repeated after transient errors.

    All of them can be repeated: reads, listings, deletions, and writes of whole objects.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        return await _patiently(lambda: self._store.get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        ranges = list(key_ranges)
        return await _patiently(lambda: self._store.get_partial_values(prototype, ranges))

    async def exists(self, key: str) -> bool:
        return await _patiently(lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        await _patiently(lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await _patiently(lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        await _patiently(lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        await _patiently(lambda: self._store.delete_dir(prefix))

    async def is_empty(self, prefix: str) -> bool:
        return await _patiently(lambda: self._store.is_empty(prefix))

    def list(self) -> AsyncIterator[str]:
        return _listed(self._store.list)

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        return _listed(lambda: self._store.list_prefix(prefix))

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return _listed(lambda: self._store.list_dir(prefix))


async def _patiently(call: Callable[[], Awaitable[Result]]) -> Result:
    waits = Waits()
    while True:
        try:
            result = await call()
        except Exception as error:
            await asyncio.sleep(waits.after(error))
        else:
            _note_answer()
            return result


async def _listed(names: Callable[[], AsyncIterator[str]]) -> AsyncIterator[str]:
    async def gather() -> list[str]:
        return [name async for name in names()]

    for name in await _patiently(gather):
        yield name
