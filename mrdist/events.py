"""Events of a run, for programs: one record of the logger ``mrdist.events`` for every event.

::

    start, end            of a command of the command line; ``command``, and at the end ``exit_code`` and ``seconds``
    error, warning        messages for the user; ``message``
    lease                 this run holds an output alone; ``url``, and ``taken_from``, the run that held it before
    phase                 a phase of the work starts; ``url``, ``phase``, ``total`` and ``done`` in its ``unit``
    block                 a piece of work is finished; ``url``, ``phase``, ``total``, ``done`` and ``unit``, the
                          ``index`` of a block of pixels in raster order, ``blocks_per_second``,
                          ``images_per_second``, ``seconds_left``, and the ``share`` of the phase that is done, 0 to 1,
                          with what blocks have done that are not finished
    part                  a block is not finished, but another part of it is; the fields of ``block``
    workers               who is going to work: how many processes as ``workers``, 0 for this one and null for those
                          of a scheduler, and ``where``, the same in words with its reason
    cluster               the workers are ready; ``dashboard``, a link
    retry                 a request to a store is repeated; ``reason``, ``status`` of HTTP, seconds ``waited`` so far
    waiting               for workers, or to learn whether another run is alive
    worker-joined         and ``worker-lost``

``mrdist --events FILE COMMAND`` appends them to a file; in Python a handler of the logger gets them, with the name of
the event as the message and its fields as the attribute ``fields`` of the record. No event holds a secret: URLs come
without user, password and query.

Examples
--------
>>> import io
>>> stream = io.StringIO()
>>> with written_to(stream):
...     emit("block", done=3, total=12)
>>> event = json.loads(stream.getvalue())
>>> event["event"], event["done"], event["total"]
('block', 3, 12)
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

_logger = logging.getLogger("mrdist.events")
_logger.propagate = False  # they are for programs; messages for users go to the logger mrdist
_logger.addHandler(logging.NullHandler())
_logger.setLevel(logging.INFO)


def emit(kind: str, **fields: Any) -> None:
    """Emit an event.

    Parameters
    ----------
    kind
        Its name.
    fields
        Its data, as JSON values and without secrets.
    """
    _logger.info(kind, extra={"fields": fields})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, "fields", {})
        return json.dumps({"time": time, "event": record.getMessage(), "pid": os.getpid(), **fields}, default=str)


@contextmanager
def written_to(stream: TextIO) -> Iterator[None]:
    """Write events as lines of JSON while the context lasts.

    Parameters
    ----------
    stream
        Gets ``time`` (UTC), ``event``, ``pid`` and the event's own fields; every line is flushed.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines())
    _logger.addHandler(handler)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
