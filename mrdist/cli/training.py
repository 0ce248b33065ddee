"""Commands that plan and train."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from mrdist.cli.options import (
    cluster_options,
    format_bytes,
    json_option,
    overwrite_option,
    print_json,
    print_table,
    training_options,
)


@click.command()
@click.argument("images")
@click.argument("weights")
@training_options
@cluster_options
@overwrite_option
@json_option
def train(images: str, weights: str, as_json: bool, **options: Any) -> None:
    """Train a mapping from the images store IMAGES into the weights store WEIGHTS; resume it if it was stopped."""
    from mrdist.pipeline.train import train

    report = train(images, weights, **options)
    if as_json:
        print_json(report.to_dict())
        return
    if report.already_complete:
        click.echo(f"{weights}: already complete")
        return
    r2 = report.scores["r2"]
    click.echo(
        f"{weights}: {report.blocks_run} of {report.blocks} blocks in {report.run_seconds:.1f} s "
        f"(start {report.start_seconds:.1f} s), {format_bytes(report.bytes_read)} read, peak memory of a worker "
        f"{format_bytes(report.peak_memory_bytes)}, training MSE {report.scores['mse']:.3g}"
        + ("" if r2 is None else f", R2 {r2:.3f}")
    )


@click.command()
@click.argument("images")
@training_options
@click.option("--workers", type=int, metavar="N", help="Worker processes, one per processor by default.")
@json_option
def plan(images: str, as_json: bool, **options: Any) -> None:
    """Say what training from IMAGES would read, write, hold in memory and take."""
    from mrdist.pipeline.train import plan

    found = plan(images, **options)
    if as_json:
        print_json({**asdict(found), "amplification": found.amplification})
        return
    print_table(
        images,
        ("", ""),
        [
            ("blocks", f"{found.n_blocks} of {found.block[0]} x {found.block[1]} pixels"),
            ("images read at a time", str(found.slab)),
            ("peak memory of a worker", format_bytes(found.peak_memory)),
            (
                "bytes read (decoded)",
                f"{format_bytes(found.bytes_read)}, {found.amplification:.2f} of those needed",
            ),
            ("bytes written (before compression)", format_bytes(found.bytes_written)),
            ("seconds, from a short measurement", f"{found.seconds:.3g}"),
        ],
    )
    if found.advice is not None:
        click.echo(f"Warning: {found.advice}", err=True)


COMMANDS = (train, plan)
