"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


class Sizes(click.ParamType[tuple[int, ...]]):
    """Whole numbers separated by commas, such as ``128,256``; positive by default."""

    def __init__(self, count: int, least: int = 1) -> None:
        self.count = count
        self.least = least
        self.name = ",".join(["N"] * count)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if len(parts) != self.count or not all(part.strip().isdigit() and int(part) >= self.least for part in parts):
            kind = "positive " if self.least else ""
            self.fail(f"{value!r} is not {self.count} {kind}whole numbers separated by commas.", param, ctx)
        return tuple(int(part) for part in parts)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas, ``0,0.05,0.1``: as many as one of ``counts``, or any; whole ones if ``whole``."""

    name = "A,B,..."

    def __init__(self, *counts: int, whole: bool = False) -> None:
        self.counts = counts
        self.kind: type[int] | type[float] = int if whole else float

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        try:
            numbers: tuple[float, ...] = tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not all(map(math.isfinite, numbers)) or len(numbers) not in (self.counts or (max(len(numbers), 1),)):
            many = " or ".join(map(str, self.counts)) + " " if self.counts else ""
            what = "whole numbers" if self.kind is int else "numbers"
            self.fail(f"{value!r} is not {many}{what} separated by commas.", param, ctx)
        return numbers


def cluster_options(command: Command) -> Command:
    """Add ``--workers``, ``--scheduler``, or the file with its address, and the certificates for it."""

    @functools.wraps(command)
    def certified(
        *args: Any,
        verbose: bool,
        scheduler_file: str | None,
        tls_ca: str | None,
        tls_cert: str | None,
        tls_key: str | None,
        **options: Any,
    ) -> Any:
        if verbose:
            logging.getLogger("mrdist").setLevel(logging.DEBUG)
        if scheduler_file is not None:
            if options["scheduler"] is not None:
                raise click.UsageError("give either --scheduler or --scheduler-file, not both.")
            from mrdist.execution import address_in

            options["scheduler"] = address_in(scheduler_file)
        if tls_ca or tls_cert or tls_key:
            if not (options["scheduler"] or "").startswith("tls://"):
                raise click.UsageError(
                    f"--tls-ca, --tls-cert and --tls-key need a --scheduler at tls://, got {options['scheduler']}."
                )
            from mrdist.execution import use_tls

            use_tls(tls_ca, tls_cert, tls_key)
        return command(*args, **options)

    file = click.Path(exists=True, dir_okay=False)
    return cast(
        Command,
        add_options(
            certified,
            click.option(
                "--workers",
                type=int,
                metavar="N",
                help="Local worker processes, 0 runs in this process; by default one per processor, or this process "
                "where they would take longer to start than the work.",
            ),
            click.option(
                "--scheduler", metavar="ADDRESS", help="Address of a running Dask scheduler, such as tcp://host:8786."
            ),
            click.option(
                "--scheduler-file",
                type=click.Path(),
                metavar="FILE",
                help="File with that address, as `dask scheduler --scheduler-file` and dask-mpi write it.",
            ),
            click.option("--tls-ca", type=file, metavar="FILE", help="CA certificates for a tls:// scheduler."),
            click.option("--tls-cert", type=file, metavar="FILE", help="Client certificate for a tls:// scheduler."),
            click.option("--tls-key", type=file, metavar="FILE", help="Private key of the client certificate."),
            click.option("-v", "--verbose", is_flag=True, help="Say where the work is done and why."),
        ),
    )


def add_options(command: Command, *options: Decorator) -> Command:
    """Add options, the first one first in the help."""
    for option in reversed(options):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing output.")
strict_option = click.option("--strict", is_flag=True, help="Fail instead of leaving out a photograph.")
refine_option = click.option(
    "--refine", is_flag=True, help="Keep the input where the mapping does not matter; see `mrdist refine`."
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(value))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for position, name in enumerate(header):
        text = not rows or not rows[0][position].replace(".", "").lstrip("-").isdigit()
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, emoji=False).print(table)  # names may have brackets and colons


def format_seconds(seconds: float) -> str:
    """Return a time as text.

    Examples
    --------
    >>> format_seconds(2.345), format_seconds(100), format_seconds(9000)
    ('2.35 seconds', '1.67 minutes', '2.5 hours')
    """
    for limit, unit in ((60, "seconds"), (3600, "minutes")):
        if seconds < limit:
            return f"{seconds / (limit // 60):.3g} {unit}"
    return f"{seconds / 3600:.3g} hours"


def format_bytes(size: float) -> str:
    """Return a size as text.

    Examples
    --------
    >>> format_bytes(3 << 20)
    '3.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
