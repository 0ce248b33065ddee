"""What a job says: lines of its log, kept in the catalogue beside its record."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_LINES = 400
_WARNINGS = 20
_LOGGERS = ("mrdist", "py.warnings")


class Diary(logging.Handler):
    """Takes down what is logged while it is open.

    Parameters
    ----------
    place
        Location of the catalogue, which no line tells.
    lines
        Those of earlier processes that worked on the job.
    """

    def __init__(self, place: str, lines: list[dict[str, Any]]) -> None:
        super().__init__(logging.INFO)
        self._place = place
        self._lines = deque(lines, _LINES)
        self.warnings: list[str] = []
        self.changed = False

    def open(self) -> None:
        """Begin."""
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self)

    def close(self) -> None:
        """End."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Take down what is logged."""
        if record.name == "mrdist.events":  # which the reporter puts into words
            return
        self.write(record.getMessage().strip(), record.levelname.lower())

    def write(self, message: str, level: str = "info") -> None:
        """Add a line."""
        told = message.replace(self._place, "")
        if level == "warning" and told not in self.warnings and len(self.warnings) < _WARNINGS:
            self.warnings.append(told)
        self._lines.append({"time": datetime.now(UTC).isoformat(), "level": level, "message": told})
        self.changed = True

    def lines(self) -> Iterable[dict[str, Any]]:
        """Return all lines."""
        self.changed = False
        return self._lines.copy()
