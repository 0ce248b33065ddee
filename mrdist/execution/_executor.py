"""Run a function over items: in this process, or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mrdist.errors import MrdistError
from mrdist.execution._failures import failure
from mrdist.parts import heard_by

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Executor:
    """Runs functions of one argument, at most a few per slot at a time.

    Attributes
    ----------
    dashboard
        Link to Dask's dashboard, if there is one.
    start_seconds
        Until the workers were ready; 0 without a cluster.
    prepare_seconds
        Until what the tasks need was compiled and loaded, here and in the workers: part of the work, not of the start.
    workers
        Processes that were started: 0 works in this one; None with a scheduler.
    where
        Who works and why, in words.
    """

    client: Client | None
    address: str
    dashboard: str | None
    start_seconds: float
    prepare_seconds: float = 0.0
    workers: int | None = 0
    where: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """Who works, as ``--json`` of every verb tells it."""
        return {"workers": self.workers, "where": self.where}

    def run(
        self,
        function: Callable[..., Result],
        items: Sequence[Item],
        *shared: Any,
        name: str,
        describe: Callable[[Item], str] = str,
        heard: Callable[[Item, float], None] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield every item with its result, in the order in which they finish.

        Parameters
        ----------
        function
            Called with one item and what is shared; must be importable by the workers and repeatable, since the item
            of a lost worker runs again.
        items
            What to do.
        shared
            Data that all calls need, such as a table; a worker gets it once.
        name
            Name of the kind of task, for the dashboard.
        describe
            Names an item in error messages.
        heard
            Called from time to time with an item that is worked on and the share of it that is done, see
            `mrdist.parts`.

        Raises
        ------
        MrdistError
            What ``function`` raised.
        ExecutionError
            If the scheduler is lost, or there are no workers for minutes; after all other items, if some have killed
            every worker that tried them.
        """
        if self.client is not None:
            from mrdist.execution._window import Window  # which needs Dask

            yield from Window(self.client, self.address, function, items, shared, name, describe, heard).results()
            return
        for item in items:
            try:
                with nullcontext() if heard is None else heard_by(partial(heard, item)):
                    result = function(item, *shared)
            except MrdistError:
                raise
            except OSError as error:
                raise failure(error, describe(item)) from error
            yield item, result
