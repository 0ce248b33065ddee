"""A pass over items on a cluster whose workers join, leave and die."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from mrdist.errors import ExecutionError, MrdistError
from mrdist.events import emit
from mrdist.execution._failures import failure
from mrdist.execution._worker import PARTS, own_versions, pack, unpack, work

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger("mrdist")

WORKER_SECONDS = 300.0
"""How long to wait for a worker if there is none."""
_LOOK_SECONDS = 0.5
_PATIENT_SECONDS = 5.0
_SAY_SECONDS = 30.0
_ANSWER_SECONDS = 60.0
_TASKS_PER_SLOT = 3
_FEW_PER_SLOT = 2
"""As many tasks or fewer Dask gives, all of them, to the worker that holds what they share (`Scheduler.is_rootish`)."""
_AHEAD_SECONDS = 20.0
_MOST_AHEAD = 1000
_HOPELESS = 10
_MOST_SHARES = 5
_NAMED = 3


class Window(Generic[Item, Result]):
    """Submits items to a cluster a few at a time and tracks them and the workers.

    The present slots get some 20 seconds of work: few enough items for the scheduler to forget them as they finish,
    enough for an adaptive cluster to see that it should grow.

    A worker that dies loses all tasks that wait in it. Dask cannot know which of them killed it, and gives up a task
    that was there too often. Such an item is tried once more when all others are done, and alone: if it kills workers
    again, it is the cause.

    Parameters
    ----------
    client, address
        Of the scheduler.
    function, items, shared, name, describe, heard
        As in `mrdist.execution.Executor.run`.
    """

    def __init__(
        self,
        client: Client,
        address: str,
        function: Callable[..., Result],
        items: Sequence[Item],
        shared: tuple[Any, ...],
        name: str,
        describe: Callable[[Item], str],
        heard: Callable[[Item, float], None] | None = None,
    ) -> None:
        self._client, self._address = client, address
        self._items, self._name, self._describe = items, name, describe
        self._left: Iterator[int] = iter(range(len(items)))
        self._done = 0
        self._suspects: deque[int] = deque()
        self._alone: int | None = None
        self._killed: list[int] = []
        self._memory = ""
        self._running: dict[tuple[str, int], tuple[int, Future]] = {}
        self._ended: SimpleQueue[Future | None] = SimpleQueue()  # None: something else has come
        self._fetched: deque[tuple[Future, tuple[float, Result]]] = deque()
        self._workers: dict[str, int] = {}
        self._seconds = _AHEAD_SECONDS
        self._looked = self._said = -math.inf
        self._deserted: float | None = None
        self._restarted: dict[str, int] = {}
        self._heard = heard
        self._parts: deque[tuple[int, float]] = deque()
        self._told_as = None if heard is None else uuid.uuid4().hex
        self._packed = pack((function, own_versions(), shared, self._told_as))
        self._shares = 0
        self._share()

    def _share(self) -> None:
        """Give the workers the shared data, and name the tasks to come."""
        self._shares += 1
        self._run = uuid.uuid4().hex[:8]
        # the future of a task, as scattered data would be lost with the worker that holds it
        self._common = self._client.submit(unpack, self._packed, key=f"shared-{self._run}", pure=False)

    def results(self) -> Iterator[tuple[Item, Result]]:
        """Yield items with their results as they finish, see `mrdist.execution.Executor.run`."""
        self._client.subscribe_topic("all", self._note_loss)
        self._client.subscribe_topic("worker-restart-memory", self._note_restart)
        if self._heard is not None:
            self._client.subscribe_topic(PARTS, self._note_part)
        try:
            while True:
                self._look()
                self._submit()
                if not self._running:
                    break
                yield from self._collect()
        except (OSError, TimeoutError) as error:
            if isinstance(error, MrdistError):
                raise
            raise self._lost() from error
        finally:
            self._cancel()
        if self._killed:
            raise self._accusation()

    def _lost(self) -> ExecutionError:
        return ExecutionError(
            f"the scheduler at {self._address} was lost; start it again and repeat the command: what is finished is "
            "kept."
        )

    def _look(self) -> None:
        """Look up the workers, twice a second at most."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        if self._client.status != "running":
            raise self._lost()
        # with a limit: a scheduler that was stopped keeps its connections
        workers = self._client.sync(self._client.scheduler.ncores, workers=None, callback_timeout=_ANSWER_SECONDS)
        now = self._looked = time.monotonic()
        before, self._workers = self._workers, workers
        for kind, addresses in (("worker-lost", before.keys() - workers), ("worker-joined", workers.keys() - before)):
            for address in sorted(addresses):
                emit(kind, worker=address, workers=len(workers))
        cluster = self._client.cluster
        if cluster is not None and len(workers) < len(cluster.worker_spec):
            # a nanny whose worker dies in the moment it is up does not notice; Dask drops it after a while
            cluster.scale(len(cluster.worker_spec))
        if workers:
            if self._deserted is not None and self._said > self._deserted:
                logger.info("the scheduler has workers again")
            self._deserted = None
            return
        if self._deserted is None:
            self._deserted = now
        waited = now - self._deserted
        if waited > WORKER_SECONDS:
            raise ExecutionError(
                f"the scheduler at {self._address} has had no worker for {waited:.0f} s; start some with `dask worker "
                f"{self._address} --nthreads 1` and repeat the command: what is finished is kept."
            )
        if waited > _PATIENT_SECONDS and now - self._said > _SAY_SECONDS:
            self._said = now
            emit("waiting", what="workers", scheduler=self._address, seconds=round(waited, 1))
            logger.warning(
                "waiting for workers: the scheduler at %s has none (another %.0f s)",
                self._address,
                WORKER_SECONDS - waited,
            )

    def _submit(self) -> None:
        """Submit as many items as fit into the window."""
        if self._alone is not None:
            return
        slots = [address for address, n_slots in self._workers.items() for _ in range(n_slots)]
        n_slots = max(len(slots), 1)
        ahead = min(n_slots * math.ceil(_AHEAD_SECONDS / self._seconds), _MOST_AHEAD)
        room = max(ahead, _TASKS_PER_SLOT * n_slots) - len(self._running)
        numbers = list(islice(self._left, max(room, 0)))
        if not numbers and not self._running and self._suspects:
            self._alone = self._suspects.popleft()
            numbers = [self._alone]
        if not numbers:
            return
        if slots and len(self._items) <= _FEW_PER_SLOT * n_slots:
            for start, address in enumerate(slots):
                self._send(numbers[start::n_slots], workers=[address], allow_other_workers=True)
        else:
            self._send(numbers)

    def _send(self, numbers: Sequence[int], **where: Any) -> None:
        """Submit these items, to certain workers if that is said."""
        if not numbers:
            return
        group = f"{self._name}-{self._run}" + ("" if self._alone is None else "-again")
        futures = self._client.map(
            work,
            [pack(self._items[number]) for number in numbers],
            numbers,
            key=[(group, number) for number in numbers],  # a group of its own: a worker gets few of its tasks at a time
            pure=False,
            common=self._common,
            **where,
        )
        for number, future in zip(numbers, futures, strict=True):
            self._running[future.key] = number, future
            future.add_done_callback(self._ended.put)

    def _collect(self) -> Iterator[tuple[Item, Result]]:
        """Yield what has arrived; wait a moment if nothing has."""
        ended: list[Future | None] = []
        try:
            ended.append(self._ended.get(timeout=_LOOK_SECONDS))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            pass
        self._tell_parts()
        to_fetch = []
        for future in ended:
            if future is None:
                continue
            if future.status == "finished":
                to_fetch.append(future)
            elif future.status == "error":
                error = future.exception()
                number = self._running[future.key][0]
                if not isinstance(error, KilledWorker):
                    raise failure(error, self._describe(self._items[number])) from error
                self._suspect(number, error)
                self._release(future)
            elif future.status == "cancelled":
                raise self._lost()
            else:  # lost with its worker in this moment, it runs again
                future.add_done_callback(self._ended.put)
        if to_fetch:
            self._client.loop.add_callback(self._fetch, to_fetch)
        while self._fetched:
            future, (seconds, result) = self._fetched.popleft()
            item = self._items[self._release(future)]
            self._seconds = max(seconds if self._done == 0 else 0.9 * self._seconds + 0.1 * seconds, 1e-6)
            self._done += 1
            yield item, result

    async def _fetch(self, futures: list[Future]) -> None:
        """Fetch results without blocking: a call to a worker that has just died hangs."""
        try:
            results = await self._client.gather(futures, asynchronous=True)
        except Exception:  # one of them was lost with its worker and runs again
            for future in futures:
                future.add_done_callback(self._ended.put)
        else:
            self._fetched.extend(zip(futures, results, strict=True))
            self._ended.put(None)

    def _release(self, future: Future) -> int:
        """Let the scheduler forget a task, and return the number of its item."""
        number, _ = self._running.pop(future.key)
        future.release()
        if number == self._alone:
            self._alone = None
        return number

    def _suspect(self, number: int, error: KilledWorker) -> None:
        """Put an item aside that was present each time workers died, or count it as their cause."""
        memory = self._restarted.get(error.last_worker.address)
        if memory is not None:
            self._memory = f", the last at {memory >> 20} MiB of the {error.last_worker.memory_limit >> 20} it may have"
        if str(error.task).startswith("shared-"):  # the blocks that wait for it fail with it
            if error.task == self._common.key:
                self._share()
            if number != self._alone and self._shares <= _MOST_SHARES:
                self._left = chain([number], self._left)
                return
        if number == self._alone:
            self._killed.append(number)
            return
        what = self._describe(self._items[number])
        emit("retry", what=what, workers_lost=error.allowed_failures + 1)
        logger.warning("%s was lost with %d workers; it is tried again at the end", what, error.allowed_failures + 1)
        self._suspects.append(number)
        if len(self._suspects) >= max(_HOPELESS, self._done):
            self._killed = list(self._suspects)
            raise self._accusation("most blocks fail this way, and none was tried again")

    def _accusation(self, rest: str = "all others are done and kept") -> ExecutionError:
        names = [self._describe(self._items[number]) for number in sorted(self._killed)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ExecutionError(
            f"every worker that tried {', '.join(names[:_NAMED])}{more} was killed{self._memory}; {rest}: give the "
            "workers more memory and repeat the command, or start over (--overwrite) with a lower --max-memory or a "
            "smaller --block."
        )

    async def _note_loss(self, event: tuple[float, Any]) -> None:
        """Report the items that were lost with a worker: they run again."""
        _, what = event
        if not isinstance(what, dict) or what.get("action") != "remove-worker":
            return
        for key in what.get("processing-tasks", ()):
            number, _ = self._running.get(key, (None, None))
            if number is not None:
                emit("retry", what=self._describe(self._items[number]), worker=what["worker"])

    def _tell_parts(self) -> None:
        """Pass on how much of the items is done that are worked on."""
        running = {number for number, _ in self._running.values()}
        while self._parts:
            number, share = self._parts.popleft()
            if number in running and self._heard is not None:
                self._heard(self._items[number], share)

    async def _note_part(self, event: tuple[float, Any]) -> None:
        """Take note of how much of an item is done."""
        _, (run, number, share) = event
        if run == self._told_as:
            self._parts.append((number, share))
            self._ended.put(None)

    async def _note_restart(self, event: tuple[float, Any]) -> None:
        """Remember the report of a nanny on a worker that used too much memory."""
        _, what = event
        self._restarted[what["worker"]] = what["rss"]

    def _cancel(self) -> None:
        """Clean up on the scheduler, if it is still there."""
        if self._client.status != "running":
            return
        if self._running:
            self._client.cancel([future for _, future in self._running.values()], force=True)
        self._common.release()
        self._client.unsubscribe_topic("all")
        self._client.unsubscribe_topic("worker-restart-memory")
        if self._heard is not None:
            self._client.unsubscribe_topic(PARTS)
