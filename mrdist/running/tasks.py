"""What a run is made of: its options, the stores it reads and writes, and tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

from mrdist.errors import MemoryLimitError
from mrdist.execution import Scheduler
from mrdist.geometry import Block, Shape
from mrdist.planning import MIB, Cut
from mrdist.storage import DESCRIPTION, IN_THE_MAKING, Foreseen, Images, StorageOptions

AnyCut = TypeVar("AnyCut", bound=Cut)

_MOST_FIRST = 16  # keys that travel with every task; a store of ours has so many for a million images


@dataclass(frozen=True)
class Place:
    """A store.

    Attributes
    ----------
    url
        Its address.
    options
        Those of its filesystem, which may hold secrets.
    first
        Keys of what is asked of it first, see `mrdist.storage.foreseeing`.
    """

    url: str
    options: StorageOptions = field(default=None, repr=False)
    first: tuple[str, ...] = field(default=DESCRIPTION, repr=False)


@dataclass(frozen=True)
class RunOptions:
    """Where the output of a run goes, how it is cut, and who works on it.

    Attributes
    ----------
    output
        Where the output goes.
    block, workers, scheduler, max_memory, codec, overwrite, progress
        As in `mrdist.train`; ``max_memory`` in bytes.
    n_slots
        Tasks to plan for that run at once.
    further_memory
        Bytes of a worker that plans do not know, see `mrdist.running.workers.further_memory`.
    """

    output: Place
    block: Shape | None
    workers: int | None
    scheduler: Scheduler | None
    max_memory: int
    n_slots: int
    further_memory: int
    codec: str | None
    overwrite: bool
    progress: bool | None

    def whole(self, cut: AnyCut) -> AnyCut:
        """Return a plan with all that a worker holds."""
        return replace(cut, peak_memory=cut.peak_memory + self.further_memory)

    def planned(self, plan: Callable[[Shape | None], AnyCut]) -> AnyCut:
        """Return what ``plan`` makes of the block, with all that a worker holds; a refusal says what that is."""
        try:
            return self.whole(plan(self.block))
        except MemoryLimitError as error:
            if not self.further_memory:
                raise
            limit, further = (size // MIB for size in (self.max_memory + self.further_memory, self.further_memory))
            raise MemoryLimitError(
                f"{str(error).rstrip('.')}; that is what the {limit} MiB of a worker leave besides {further} MiB for "
                "the client of an object store or what a scheduler's workers have imported."
            ) from error

    @property
    def opening(self) -> dict[str, Any]:
        """How the output is begun or resumed: arguments of the functions of storage that do it."""
        return {"codec": self.codec, "overwrite": self.overwrite, "storage_options": self.output.options}


@dataclass(frozen=True)
class Task:
    """A part of the work; what all parts share lies in the output.

    Attributes
    ----------
    index
        Position among all parts, of blocks in the raster order of the grid.
    block
        Its pixels.
    outputs
        The stores that it is written to.
    source
        The store that it reads.
    slab
        Images to read at a time.
    """

    index: int
    block: Block
    outputs: tuple[Place, ...]
    source: Place
    slab: int

    @property
    def output(self) -> Place:
        """The one store that it is written to."""
        (output,) = self.outputs
        return output


def rows_of(images: Images, split: str) -> Place:
    """Return the images of a split, for tasks that open them and ask for their rows."""
    keys = islice(images.keys_of_rows(split), _MOST_FIRST)
    return Place(images.url, images.storage_options, (*DESCRIPTION, *keys))


def opened_by(task: Task) -> list[Foreseen]:
    """Return what a task asks of its stores first, see `mrdist.storage.foreseeing`."""
    outputs = [(output.url, output.options, IN_THE_MAKING) for output in task.outputs]
    return [(task.source.url, task.source.options, task.source.first), *outputs]
