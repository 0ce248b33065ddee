"""Every exception that mrdist raises on purpose.

::

    MrdistError
    ├── ParameterError        an argument or option outside its domain         (also ValueError)
    ├── DataError             images that cannot be used as they are           (also ValueError)
    │   ├── PhotographError   a file that is not a readable photograph
    │   │   ├── PhotographFormatError  not an image, or in a format that is not supported
    │   │   └── PhotographSizeError    more pixels than the limit
    │   ├── LandmarkError     a landmark file that cannot be read or does not fit
    │   └── AlignmentError    a photograph that could not be brought into the frame
    ├── StoreError            a store that cannot be read or written
    │   ├── StoreNotFoundError    nothing at this URL                          (also FileNotFoundError)
    │   ├── StoreFormatError      something else, or a newer format, at this URL
    │   │   └── ForeignStoreError     not a store of mrdist at all
    │   ├── StoreIncompleteError  a store in the making
    │   ├── StoreExistsError      an output that is already there              (also FileExistsError)
    │   ├── StoreBusyError        an output that another run writes
    │   ├── MissingChunkError     a chunk that should be in the store and is not
    │   ├── DamagedChunkError     a chunk whose bytes are not those that were written
    │   └── LabelError            a label that the images store does not have  (also KeyError)
    ├── MemoryLimitError      a plan that does not fit into ``max_memory``
    ├── SolveError            a linear system that is not positive definite
    └── ExecutionError        a cluster that cannot be reached or a block that keeps failing

A message is one sentence with the offending value, the limit, the place and what to do.
"""

from __future__ import annotations


class MrdistError(Exception):
    """Base of every exception raised on purpose by mrdist."""


class ParameterError(MrdistError, ValueError):
    """An argument or option lies outside its domain."""


class DataError(MrdistError, ValueError):
    """Images cannot be used as they are."""


class PhotographError(DataError):
    """A file is not a readable photograph."""


class PhotographFormatError(PhotographError):
    """A file is not an image, or in a format that is not supported."""


class PhotographSizeError(PhotographError):
    """A photograph has more pixels than the limit."""


class LandmarkError(DataError):
    """A landmark file cannot be read or does not fit its photograph."""


class AlignmentError(DataError):
    """A photograph could not be brought into the common frame.

    Attributes
    ----------
    reason
        Why, without the advice on what to do, which differs between a shell and a page.
    """

    def __init__(self, reason: str, advice: str | None = None) -> None:
        super().__init__(f"{reason}; {advice}" if advice else reason)
        self.reason = reason


class StoreError(MrdistError):
    """A store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is nothing at this URL."""


class StoreFormatError(StoreError):
    """There is something else, or a newer format, at this URL."""


class ForeignStoreError(StoreFormatError):
    """There is something at this URL that is not a store of mrdist."""


class StoreIncompleteError(StoreError):
    """The store is still in the making."""


class StoreExistsError(StoreError, FileExistsError):
    """An output of another run is already there."""


class StoreBusyError(StoreError):
    """Another run writes this output."""


class MissingChunkError(StoreError):
    """A chunk that should be in the store is not."""


class DamagedChunkError(StoreError):
    """A chunk in the store does not match its checksum."""


class LabelError(StoreError, KeyError):
    """The images store has no such label."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would print the repr of the sentence


class MemoryLimitError(MrdistError):
    """A plan does not fit into ``max_memory``."""


class SolveError(MrdistError):
    """A linear system is not positive definite."""


class ExecutionError(MrdistError):
    """A cluster cannot be reached, or a block keeps failing."""
