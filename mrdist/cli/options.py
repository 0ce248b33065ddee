"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]


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


class SideOrShape(click.ParamType[int | tuple[int, ...]]):
    """A side in pixels, or height and width separated by a comma."""

    name = "S|H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        """Parse the text."""
        if isinstance(value, int):
            return value
        sizes = Sizes(2 if "," in str(value) else 1).convert(value, param, ctx)
        return sizes[0] if len(sizes) == 1 else sizes


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas, such as ``0,0.05,0.1``: ``count`` of them or any number, whole ones if ``whole``."""

    name = "A,B,..."

    def __init__(self, count: int | None = None, *, whole: bool = False) -> None:
        self.count = count
        self.kind: type[int] | type[float] = int if whole else float

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        try:
            numbers: tuple[float, ...] = tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not all(map(math.isfinite, numbers)) or len(numbers) != (self.count or max(len(numbers), 1)):
            many = "" if self.count is None else f"{self.count} "
            what = "whole numbers" if self.kind is int else "numbers"
            self.fail(f"{value!r} is not {many}{what} separated by commas.", param, ctx)
        return numbers


class OneOrSeveral(click.ParamType[int | tuple[float, ...] | str]):
    """A whole number, several separated by commas, or ``cv`` where that is allowed."""

    name = "N,N,..."

    def __init__(self, *, cv: bool = False) -> None:
        self.cv = cv

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[float, ...] | str:
        """Parse the text."""
        if isinstance(value, int):
            return value
        if self.cv and value == "cv":
            return "cv"
        numbers = Numbers(whole=True).convert(value, param, ctx)
        return int(numbers[0]) if len(numbers) == 1 else numbers


class Alpha(click.ParamType[float | str]):
    """A penalty, or ``cv`` to choose it by cross-validation."""

    name = "A|cv"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Parse the text."""
        if value == "cv":
            return "cv"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor cv.", param, ctx)


def cluster_options(command: Command) -> Command:
    """Add ``--workers``, ``--scheduler`` and the certificates for it."""

    @functools.wraps(command)
    def certified(*args: Any, tls_ca: str | None, tls_cert: str | None, tls_key: str | None, **options: Any) -> Any:
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
                help="Local worker processes; by default one per processor, 0 runs in this process.",
            ),
            click.option(
                "--scheduler", metavar="ADDRESS", help="Address of a running Dask scheduler, such as tcp://host:8786."
            ),
            click.option("--tls-ca", type=file, metavar="FILE", help="CA certificates for a tls:// scheduler."),
            click.option("--tls-cert", type=file, metavar="FILE", help="Client certificate for a tls:// scheduler."),
            click.option("--tls-key", type=file, metavar="FILE", help="Private key of the client certificate."),
        ),
    )


def training_options(*, source_required: bool = True, target_required: bool = True) -> Callable[[Command], Command]:
    """Add the options that describe a training."""

    def add(command: Command) -> Command:
        return add_options(
            command,
            *_label_options(source=source_required, target=target_required),
            *_field_options("3", "1", several=True),
            _alpha(cv=True),
            *_search.values(),
            _color("shared"),
            _intercept,
            _split,
            _dtype,
            _block,
            max_memory_option,
        )

    return add


def method_options(command: Command) -> Command:
    """Add ``--method`` and the options of single methods."""
    return add_options(command, *_method_options)


def accumulation_options(command: Command) -> Command:
    """Add the options that describe sums over images; by default those of an existing store."""
    return add_options(
        command,
        *_label_options(source=False, target=False),
        *_field_options("the store's", "the store's"),
        _color(None),
        _split,
        _block,
        max_memory_option,
    )


def solving_options(command: Command) -> Command:
    """Add the options that describe a solve from sums."""
    return add_options(
        command,
        *_field_options("the store's", "the store's"),
        _alpha(cv=False),
        _intercept,
        _dtype,
        _block,
        max_memory_option,
    )


def add_options(command: Command, *options: Option) -> Command:
    """Add options, the first one first in the help."""
    for option in reversed(options):
        command = option(command)
    return command


def _label_options(*, source: bool, target: bool) -> list[Option]:
    return [
        click.option("--source", required=source, metavar="LABEL", help="Label of the inputs."),
        click.option("--target", required=target, metavar="LABEL", help="Label of the outputs."),
    ]


def _field_options(receptive_field: str, dilation: str, *, several: bool = False) -> list[Option]:
    kind, choices = (OneOrSeveral(), "; --alpha cv chooses among several") if several else (int, "")
    return [
        click.option(
            "--receptive-field",
            type=kind,
            show_default=receptive_field,
            metavar="R",
            help=f"Odd side of the receptive field{choices}.",
        ),
        click.option(
            "--dilation", type=kind, show_default=dilation, metavar="D", help=f"Distance between taps{choices}."
        ),
    ]


def _color(default: str | None) -> Option:
    return click.option(
        "--color",
        default=default,
        show_default="the store's or shared" if default is None else True,
        metavar="MODE",
        help="Weights of the channels: shared, separate, or joint (each output channel sees all).",
    )


_method_options = (
    click.option(
        "--method",
        default="mr",
        show_default=True,
        metavar="M",
        help="Method: mr (masked regression), pixel, l2, l1, l0, kernel, pca or mean.",
    ),
    click.option(
        "--gamma",
        type=float,
        metavar="G",
        help="kernel: coefficient of the Gaussian; by default 1 / median squared distance of two images.",
    ),
    click.option(
        "--components",
        type=int,
        show_default="32, or as many as fit",
        metavar="K",
        help="pca: number of principal components.",
    ),
    click.option(
        "--window", type=int, show_default="all", metavar="R", help="l1, l0: odd side of the square of input pixels."
    ),
    click.option(
        "--max-iterations",
        type=int,
        show_default="1000",
        metavar="N",
        help="l1: maximum number of iterations per pixel.",
    ),
    click.option(
        "--nonzeros",
        type=OneOrSeveral(cv=True),
        show_default="10, or as many as fit",
        metavar="K|cv",
        help="l0: maximum number of weights per pixel; cross-validation chooses among several, K,K,... or cv.",
    ),
    click.option(
        "--tolerance", type=float, show_default="0", metavar="E", help="l0: training MSE at which a pixel stops."
    ),
)


def _alpha(*, cv: bool) -> Option:
    return click.option(
        "--alpha",
        type=Alpha() if cv else float,
        show_default="0.4",
        metavar="A|cv" if cv else "A",
        help="Penalty of the weights" + ("; cv chooses it by cross-validation." if cv else "."),
    )


_search = {
    "alphas": click.option(
        "--alphas", type=Numbers(), metavar="A,A,...", help="--alpha cv: penalties to try, ten by default."
    ),
    "folds": click.option(
        "--folds", type=int, show_default="5", metavar="K", help="--alpha cv: number of folds; nobody is in two."
    ),
    "rule": click.option(
        "--rule",
        show_default="min",
        metavar="RULE",
        help="--alpha cv: min, 1se (the simplest within one standard error) or pixel (each pixel its own alpha).",
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(min=0), show_default="0", help="--alpha cv: random seed of the folds."
    ),
}
_intercept = click.option(
    "--penalize-intercept/--free-intercept",
    default=None,
    show_default="penalize-intercept",
    help="Penalise the intercept like a weight.",
)
_split = click.option(
    "--split", default="train", show_default=True, metavar="SPLIT", help="Rows to train on: train, val, test or all."
)
_dtype = click.option(
    "--dtype", default="float32", show_default=True, metavar="T", help="Data type of the weights: float32 or float64."
)
_block = click.option(
    "--block", type=Sizes(2), metavar="Y,X", help="Rows and columns of a block, rounded up to whole chunks."
)
max_memory_option = click.option(
    "--max-memory", default="2GiB", show_default=True, metavar="SIZE", help="Memory limit of a worker process."
)
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
    Console().print(table)


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
