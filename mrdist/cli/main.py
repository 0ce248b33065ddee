"""Entry point: one sentence instead of a traceback, clean stops, exit codes."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import warnings
from types import FrameType
from typing import Any

import click

import mrdist
from mrdist.cli import comparing, data, plots, results, service, training
from mrdist.errors import MrdistError

_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(mrdist.__version__, prog_name="mrdist")
def commands() -> None:
    """Distributed, out-of-core masked regression: photographs in, a trained model, new expressions out."""


for _module in (data, training, results, comparing, plots, service):
    for _command in _module.COMMANDS:
        commands.add_command(_command)


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, 1 a failure told in one sentence, 2 usage, 130 stopped by Ctrl-C or SIGTERM.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("mrdist")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # What zarr's event loop says of reads that an error has made pointless; the error itself is told below.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", category=RuntimeWarning)
    warnings.showwarning = _show_warning
    sys.unraisablehook = _show_unraisable
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = commands(standalone_mode=False)
    except click.exceptions.Abort:
        code = _interrupted()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = _interrupted()
    except MrdistError as error:
        click.echo(f"Error: {error}", err=True)
        code = 1
    sys.exit(code)


def _interrupted() -> int:
    kept = any(sys.argv[1:2] == [command.name] for command in (*training.RESUMABLE, comparing.compare, service.serve))
    advice = "what is finished is kept: the same command goes on from there" if kept else "run the command again"
    click.echo(f"Stopped; {advice}.", err=True)
    return _INTERRUPTED


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Keep back what is left of requests that were under way when another one had failed for good."""
    if not inspect.iscoroutine(unraisable.object):
        sys.__unraisablehook__(unraisable)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)
