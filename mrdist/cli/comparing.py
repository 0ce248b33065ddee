"""Commands that compare methods and report on trained mappings."""

from __future__ import annotations

from typing import Any

import click

from mrdist.cli.options import (
    Command,
    Decorator,
    add_options,
    cluster_options,
    format_bytes,
    json_option,
    overwrite_option,
    print_json,
    print_table,
)
from mrdist.cli.training_options import (
    comparison_dial_options,
    label_options,
    shared_option,
    table_option,
    usual_option,
)
from mrdist.methods.registry import METHODS_COMPARED


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "NAME,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        """Parse the text."""
        return value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(",") if part.strip())


recognition_option = click.option(
    "--recognition/--no-recognition",
    default=True,
    show_default=True,
    help="Judge expression, person and sharpness too; some tenths of a second a face.",
)
_comparison_options: tuple[Decorator, ...] = (
    *label_options(source=True, target=True),
    click.option(
        "--methods",
        type=Names(),
        default=",".join(METHODS_COMPARED),
        show_default=True,
        metavar="M,...",
        help="Methods of `mrdist train`, or identity.",
    ),
    *(
        usual_option(name, to=f"{name}s", single=False, several=True, chosen="each is a row", some=True)
        for name in ("receptive_field", "dilation", "pool")
    ),
    table_option("alpha", cv=True, some=True, default="cv", show_default=True),
    shared_option("color"),
    table_option("split", help="split whose images are scored", default="test", show_default=True),
    shared_option("max_memory"),
    comparison_dial_options,
    recognition_option,
)


def comparison_options(command: Command) -> Command:
    """Add what describes a comparison."""
    return add_options(command, *_comparison_options)


@click.command()
@click.argument("images")
@comparison_options
@click.option("--out", default="mrdist-compare", show_default=True, metavar="DIR", help="Folder for all output.")
@cluster_options
@overwrite_option
@json_option
def compare(images: str, as_json: bool, **options: Any) -> None:
    """Train the methods on the training split of IMAGES and score them on another split; resume a stopped run.

    DIR holds the weights stores, compare.json, compare.csv and compare.png.
    """
    from mrdist.pipeline.judging.compare import compare

    comparison = compare(images, **options)
    if as_json:
        print_json(comparison)
        return
    print_comparison(comparison)
    folder = options["out"].rstrip("/")
    click.echo(f"look at {folder}/compare.png, or: mrdist report {folder} --out report.html")


_JUDGED = ("expression", ".2f"), ("recognised", ".0%"), ("rank_one", ".0%"), ("sharpness", ".2f")


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print the rows of `mrdist.compare` as a table."""
    from mrdist.pipeline.judging._verdicts import is_ranked, name_of, sentences

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else f"{value:{form}}"

    def marked(row: dict[str, Any], measure: str, name: str, form: str) -> str:
        return number(row[name], form) + ("*" if row["leads"][measure] else " ")

    quality = [
        (
            name_of(row),
            number(row["alpha"], "g"),
            marked(row, "mse", "mse", ".5f"),
            number(row["relative_mse"], ".3f"),
            marked(row, "face_mse", "face_relative_mse", ".3f"),
            number(row["psnr"], ".2f"),
            marked(row, "ssim", "ssim", ".4f"),
            number(row["r2"], ".3f"),
        )
        for row in comparison["methods"]
    ]
    cost = [
        (
            name_of(row),
            number(row["parameters"], ",d"),
            number(row["nonzeros"], ",d"),
            format_bytes(row["bytes"]),
            number(row["train_seconds"], ".2f"),
            number(row["predict_seconds"] and 1e3 * row["predict_seconds"], ".3f"),
        )
        for row in comparison["methods"]
    ]
    title = f"{comparison['source']} -> {comparison['target']}, {comparison['split']}"
    print_table(title, ("method", "alpha", "MSE ", "ratio", "face ", "PSNR dB", "SSIM ", "R2"), quality)
    click.echo("* the best, and all methods not distinguishable from it (simultaneous 95% intervals over people)")
    if not all(map(is_ranked, comparison["methods"])):
        click.echo("own: as strong as each person's target, which only the target tells; not ranked")
    for sentence in sentences(comparison):
        click.echo(sentence)
    if comparison["recognition"] is not None:
        known = comparison["recognition"]
        rows = [*((name_of(row), row) for row in comparison["methods"]), ("real faces", known["real"])]
        judged = [(name, *(number(row[measure], form) for measure, form in _JUDGED)) for name, row in rows]
        title = f"expression (by {known['by']}): 0 as {comparison['source']}, 1 as {comparison['target']}"
        print_table(title, ("method", "expression", "recognised", "rank 1", "sharpness"), judged)
    print_table("", ("method", "parameters", "nonzeros", "on disk", "train s", "predict ms"), cost)


@click.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--images", metavar="URL", help="Images store to score and show; by default that of the first training.")
@click.option(
    "--split", default="test", show_default=True, metavar="SPLIT", help="Split whose images are scored and shown."
)
@comparison_dial_options
@recognition_option
@click.option("--people", type=int, default=6, show_default=True, metavar="N", help="Maximum number of example faces.")
@click.option("--out", required=True, metavar="FILE", help="File of the page, such as report.html.")
@json_option
def report(urls: tuple[str, ...], out: str, as_json: bool, **options: Any) -> None:
    """Write one self-contained HTML page about the mappings at URLS: weights stores, or folders of `mrdist compare`."""
    from mrdist.pipeline.showing.report import report

    written = report(urls, out, **options)
    if as_json:
        print_json({"report": written})
    else:
        click.echo(written)
