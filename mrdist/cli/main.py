"""Entry point: one sentence instead of a traceback, clean stops, exit codes."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, cast

import click

import mrdist
from mrdist.errors import MrdistError, StoreError
from mrdist.events import emit, written_to
from mrdist.lazy import loaded_on_use

_INTERRUPTED = 130
_AGAIN_SECONDS = 0.05
_LOADED = 400_000
"""More objects than libraries bring."""
_ROOMS = {
    "comparing": ("compare", "report"),
    "data": ("check", "generate", "info", "ingest", "rechunk"),
    "jobs": ("cancel", "jobs", "submit"),
    "linking": ("link",),
    "plots": ("plot",),
    "results": ("demo", "evaluate", "export", "refine", "sizes", "synthesize"),
    "service": ("serve", "token"),
    "training": ("accumulate", "plan", "solve", "train"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
_RESUMABLE = {"accumulate", "compare", "serve", "solve", "train"}


class _Session(ExitStack):
    """Holds what the options before the command opened, until the process ends."""

    command: str | None = None

    def write_events(self, place: str) -> None:
        """Append events to a file; ``-`` is stderr, since stdout belongs to --json."""
        if place == "-":
            self.enter_context(written_to(sys.stderr))
            return
        try:
            stream = Path(place).open("a", encoding="utf-8")  # noqa: SIM115 (closed with the session)
        except OSError as error:
            raise StoreError(
                f"{place} cannot be written ({error.strerror}); choose another file for --events."
            ) from error
        self.enter_context(stream)
        self.enter_context(written_to(stream))


class _Commands(Mapping[str, click.Command]):
    """The commands by name; the module of each is loaded when it is asked for."""

    def __init__(self) -> None:
        self._load, _ = loaded_on_use("mrdist.cli", _HOMES)

    def __getitem__(self, name: str) -> click.Command:
        if name not in _HOMES:
            raise KeyError(name)
        return cast(click.Command, self._load(name))

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


@click.group(
    commands=cast(Any, _Commands()),  # as they stand: click would add others to a MutableMapping
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(mrdist.__version__, prog_name="mrdist")
@click.option("--events", metavar="FILE", help="Append events to FILE as JSON lines; - writes to stderr.")
@click.pass_context
def commands(context: click.Context, events: str | None) -> None:
    """Distributed, out-of-core masked regression: photographs in, a trained model, new expressions out."""
    session = context.ensure_object(_Session)
    session.command = context.invoked_subcommand
    if events is not None:
        session.write_events(events)
    emit("start", command=session.command, version=mrdist.__version__)


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, 1 a failure reported in one sentence, 2 usage, 130 stopped by Ctrl-C or SIGTERM.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("mrdist")
    logger.addHandler(handler)
    logger.addHandler(_WarningEvents(logging.WARNING))
    logger.setLevel(logging.INFO)
    # zarr's event loop complains about reads that an error has made pointless; the error itself is reported below.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", category=RuntimeWarning)
    warnings.showwarning = _show_warning
    sys.unraisablehook = _show_unraisable
    signal.signal(signal.SIGTERM, _terminate)
    _collect_later()
    # Each thread of NumPy's and of SciPy's OpenBLAS would keep a processor busy for a tenth of a second, waiting for
    # work that a small command has not. So they sleep after 2 to the power of 20 cycles, the time of a small product.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
    started = time.monotonic()
    with _Session() as session:
        try:
            code = commands(standalone_mode=False, obj=session)
        except (click.exceptions.Abort, KeyboardInterrupt):
            code = _interrupted(session.command)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
            emit("error", message=error.format_message())
        except MrdistError as error:
            click.echo(f"Error: {error}", err=True)
            code = 1
            emit("error", message=str(error))
        emit("end", command=session.command, exit_code=code or 0, seconds=round(time.monotonic() - started, 3))
    gc.freeze()  # Python's last collection would look through all that the libraries hold, for a tenth of a second
    sys.exit(code)


def _collect_later() -> None:
    """Have Python look for rubbish when there are more objects than libraries bring, and from then on as usual.

    These stay, and to look through them again and again takes a tenth of a small command.
    """
    usual = gc.get_threshold()

    def collect_as_usual(_phase: str, _info: dict[str, int]) -> None:
        if gc.get_threshold()[0] == _LOADED:
            gc.set_threshold(*usual)

    gc.callbacks.append(collect_as_usual)
    gc.set_threshold(_LOADED)


def _interrupted(name: str | None) -> int:
    kept = "what is finished is kept: run the same command again to resume"
    advice = kept if name in _RESUMABLE else "run the command again"
    click.echo(f"Stopped; {advice}.", err=True)
    return _INTERRUPTED


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Hide errors of requests that were under way when another one had failed for good.

    A stop signal that arrives while Python finalizes an object ends here, too, and is sent again: nothing handled it.
    """
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()
    elif not inspect.iscoroutine(unraisable.object):
        sys.__unraisablehook__(unraisable)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)
    emit("warning", message=str(message))


class _WarningEvents(logging.Handler):
    """Writes log messages that are warnings as events."""

    def emit(self, record: logging.LogRecord) -> None:
        emit("warning", message=record.getMessage())
