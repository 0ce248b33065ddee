"""Commands that plan, train, and store sums to train from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mrdist.cli.options import (
    Sizes,
    cluster_options,
    format_bytes,
    format_seconds,
    json_option,
    overwrite_option,
    print_json,
    print_table,
)
from mrdist.cli.training_options import (
    MethodCommand,
    accumulation_options,
    mappings_option,
    solving_options,
    training_options,
)

if TYPE_CHECKING:
    from mrdist.methods.training import TrainReport
    from mrdist.pipeline.training.accumulate import AccumulateReport
    from mrdist.pipeline.training.check import Cost
    from mrdist.pipeline.training.estimate import Estimate
    from mrdist.pipeline.training.mappings import MappingsReport
    from mrdist.planning import Plan


@click.command(cls=MethodCommand)
@click.argument("images")
@click.argument("weights")
@training_options(required=True)
@mappings_option
@cluster_options
@overwrite_option
@json_option
def train(images: str, weights: str, target: str | None, mappings: str | None, as_json: bool, **options: Any) -> None:
    """Train a mapping from the images store IMAGES into the weights store WEIGHTS; resume a stopped training.

    --target all trains from the source to every other label, --mappings all also from every other label to the source;
    WEIGHTS becomes a group that holds a weights store SOURCE-TARGET for each mapping.
    """
    if (target is None) == (mappings is None):
        raise click.UsageError("give either --target (a label or all) or --mappings.")
    from mrdist.pipeline.training.train import train

    if target not in (None, "all"):
        _print_report(weights, train(images, weights, target=target, **options), as_json)
        return
    from mrdist.pipeline.training.mappings import train_mappings

    report = train_mappings(images, weights, both_ways=mappings is not None, **options)
    if as_json:
        print_json(report.to_dict())
    elif report.already_complete:
        click.echo(f"{weights}: already complete")
    else:
        rows = [(name, *_fit(scores)) for name, scores in report.scores.items()]
        print_table(weights, ("mapping", "training MSE", "R2"), [*rows, ("mean", *_fit(report.mean_scores))])
        click.echo(
            f"{_what_ran(report)}, {format_bytes(report.bytes_read)} read, peak memory of a worker "
            f"{format_bytes(report.peak_memory_bytes)}"
        )


def _fit(scores: Mapping[str, float | None]) -> tuple[str, str]:
    mse, r2 = scores["mse"], scores["r2"]
    return "-" if mse is None else f"{mse:.3g}", "-" if r2 is None else f"{r2:.3f}"


@click.command()
@click.argument("images")
@click.argument("statistics")
@accumulation_options
@click.option("--append", is_flag=True, help="Add the images that STATISTICS lacks.")
@cluster_options
@overwrite_option
@json_option
def accumulate(images: str, statistics: str, as_json: bool, **options: Any) -> None:
    """Sum over the pairs of IMAGES into the store STATISTICS; resume a stopped run.

    `mrdist solve` computes weights for any alpha and any smaller field from it, without reading the images.
    """
    from mrdist.pipeline.training.accumulate import accumulate

    report = accumulate(images, statistics, **options)
    if as_json:
        print_json(report.to_dict())
        return
    if report.already_complete:
        click.echo(f"{statistics}: already complete, {report.images} images")
        return
    click.echo(
        f"{statistics}: {report.images_added} images added, {report.images} in it; {_what_ran(report)}, "
        f"{format_bytes(report.bytes_read)} read, peak memory of a worker {format_bytes(report.peak_memory_bytes)}"
    )


@click.command()
@click.argument("statistics")
@click.argument("weights")
@solving_options
@cluster_options
@overwrite_option
@json_option
def solve(statistics: str, weights: str, as_json: bool, **options: Any) -> None:
    """Solve a mapping from the store STATISTICS into the weights store WEIGHTS, without reading the images."""
    from mrdist.pipeline.training.solve import solve

    given = {name: value for name, value in options.items() if value is not None}
    _print_report(weights, solve(statistics, weights, **given), as_json)


def _print_report(weights: str, report: TrainReport, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    if report.already_complete:
        click.echo(f"{weights}: already complete")
        return
    r2 = report.scores["r2"]
    click.echo(
        f"{weights}: {_what_ran(report)}, {format_bytes(report.bytes_read)} read, peak memory of a worker "
        f"{format_bytes(report.peak_memory_bytes)}, training MSE {report.scores['mse']:.3g}"
        + ("" if r2 is None else f", R2 {r2:.3f}")
    )


def _what_ran(report: TrainReport | MappingsReport | AccumulateReport) -> str:
    return (
        f"{report.blocks_run} of {report.blocks} blocks in {report.run_seconds:.1f} s (start "
        f"{report.start_seconds:.1f} s)"
    )


@click.command(cls=MethodCommand)
@click.argument("images", required=False)
@click.option("--pairs", type=int, metavar="N", help="Without IMAGES: number of training pairs.")
@click.option("--size", type=int, metavar="S", help="Without IMAGES: side of the images in pixels.")
@click.option("--channels", type=int, show_default="3", metavar="C", help="Without IMAGES: 1 (gray) or 3.")
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Without IMAGES: images, rows and columns of a chunk.")
@training_options(required=False)
@mappings_option
@click.option("--workers", type=int, metavar="N", help="Worker processes; by default as `mrdist train` chooses.")
@click.option("--bandwidth", metavar="SIZE", help="Without IMAGES: bytes per second from the store to a worker.")
@click.option("--price-per-hour", type=float, metavar="P", help="Without IMAGES: price of a worker per hour.")
@click.option("--price-per-tb", type=float, metavar="P", help="Without IMAGES: price of storing a TB for a month.")
@click.option(
    "--price-per-million-requests", type=float, metavar="P", help="Without IMAGES: price of reading a million chunks."
)
@json_option
def plan(images: str | None, mappings: str | None, as_json: bool, **options: Any) -> None:
    """Estimate what a training from IMAGES reads, writes and holds in memory, and how long it takes.

    Without IMAGES, --pairs and --size describe images that do not exist yet; workers are assumed to be
    as fast as this machine. --target all and --mappings all plan what `mrdist train` does with them.
    """
    stored = {name: options.pop(name) for name in ("source", "target", "split", "codec")}
    supposed = {name: options.pop(name) for name in _SUPPOSED}
    if images is None:
        if supposed["pairs"] is None or supposed["size"] is None or stored["source"] or stored["target"] or mappings:
            raise click.UsageError("give IMAGES with --source and --target, or --pairs and --size instead of them.")
        from mrdist.pipeline.training.estimate import estimate

        given = {name: value for name, value in supposed.items() if value is not None}
        _print_estimate(estimate(**given, **options), as_json)
        return
    if not (stored["source"] and bool(stored["target"]) != bool(mappings)):
        raise click.UsageError("give --source and --target, which are labels of IMAGES, or --mappings for --target.")
    for name, value in supposed.items():
        if value is not None:
            raise click.UsageError(
                f"--{name.replace('_', '-')} describes images that do not exist yet; leave out IMAGES or this option."
            )
    if mappings or stored["target"] == "all":
        from mrdist.pipeline.training.check import check_training

        stored["target"] = None
        _print_cost(images, check_training(images, both_ways=mappings is not None, **stored, **options), as_json)
        return
    from mrdist.pipeline.training.plan import plan

    planned = plan(images, **stored, **options)
    if as_json:
        print_json(planned.to_dict())
    else:
        times = [
            ("works", str(planned.where)),
            ("seconds, from a short measurement", _told(planned.seconds)),
            ("seconds until the workers are ready, about", _told(planned.start_seconds)),
            ("seconds in all, about", _told(planned.total_seconds)),
        ]
        print_table(images, ("", ""), [*_describe_plan(planned), *times])
    if planned.advice is not None and not as_json:
        click.echo(f"Warning: {planned.advice}", err=True)


def _told(seconds: float | None) -> str:
    return "not estimated" if seconds is None else f"{seconds:.3g}"


def _print_cost(images: str, cost: Cost, as_json: bool) -> None:
    if as_json:
        print_json(cost.to_dict())
        return
    rows = [
        ("blocks of all mappings", str(cost.blocks)),
        ("peak memory of a worker", format_bytes(cost.peak_memory)),
        ("bytes read (decoded)", format_bytes(cost.bytes_read)),
        ("bytes written (before compression)", format_bytes(cost.bytes_written)),
        ("seconds", _told(None)),
    ]
    print_table(images, ("", ""), rows)


_SUPPOSED = (
    "pairs",
    "size",
    "channels",
    "chunks",
    "bandwidth",
    "price_per_hour",
    "price_per_tb",
    "price_per_million_requests",
)


def _describe_plan(planned: Plan) -> list[tuple[str, str]]:
    return [
        ("blocks", f"{planned.n_blocks} of {planned.block[0]} x {planned.block[1]} pixels"),
        ("images read at a time", str(planned.slab)),
        ("peak memory of a worker", format_bytes(planned.peak_memory)),
        ("bytes read (decoded)", f"{format_bytes(planned.bytes_read)}, {planned.amplification:.2f} of those needed"),
        ("bytes written (before compression)", format_bytes(planned.bytes_written)),
    ]


def _print_estimate(estimate: Estimate, as_json: bool) -> None:
    if as_json:
        print_json(estimate.to_dict())
        return
    plan, hours = estimate.plan, estimate.worker_hours
    time = "not estimated"
    if plan.seconds is not None and hours is not None:
        time = f"{format_seconds(plan.seconds)} with {estimate.workers} workers, {hours:.3g} hours of a worker"
    print_table(
        f"{estimate.pairs} pairs of {estimate.size} x {estimate.size} x {estimate.channels}",
        ("", ""),
        [
            ("bytes stored (before compression)", format_bytes(estimate.bytes_stored)),
            *_describe_plan(plan),
            ("requests (chunks read)", str(estimate.requests)),
            ("time, from a short measurement here", time),
            ("time until the workers are ready, about", _told_seconds(plan.start_seconds)),
            ("time in all, about", _told_seconds(plan.total_seconds)),
            *(
                (f"price of {name.replace('_', ' ')}", "not estimated" if price is None else f"{price:.2f}")
                for name, price in estimate.prices.items()
            ),
        ],
    )


def _told_seconds(seconds: float | None) -> str:
    return "not estimated" if seconds is None else format_seconds(seconds)
