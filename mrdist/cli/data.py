"""Commands that make and describe stores of images."""

from __future__ import annotations

from typing import Any

import click

from mrdist.cli.options import (
    Command,
    SideOrShape,
    Sizes,
    add_options,
    cluster_options,
    format_bytes,
    json_option,
    overwrite_option,
    print_json,
    print_table,
    seed_option,
    strict_option,
)


def generation_options(command: Command) -> Command:
    """Add what describes synthetic faces."""
    return add_options(
        command,
        click.option("--images", type=int, required=True, metavar="N", help="People; each has every label."),
        click.option("--size", type=int, default=128, show_default=True, metavar="S", help="Side in pixels."),
        click.option("--labels", metavar="A,B,...", help="Expressions, all seven by default."),
        click.option("--color", default="rgb", show_default=True, metavar="MODE", help="rgb or gray."),
        seed_option,
    )


@click.command()
@click.argument("url")
@generation_options
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@cluster_options
@overwrite_option
@json_option
def generate(url: str, labels: str | None, as_json: bool, **options: Any) -> None:
    """Write synthetic faces into an images store at URL."""
    from mrdist.datasets.synthetic import LABELS
    from mrdist.pipeline.generate import generate

    names = tuple(name.strip() for name in labels.split(",")) if labels is not None else LABELS
    generate(url, labels=names, **options)
    result = {"url": url, "images": options["images"], "labels": list(names)}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{url}: {options['images']} people with {', '.join(names)}")


class _Ingest(click.Command):
    """Ends its help with the layouts."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table."""
        from mrdist.datasets.discovery import LAYOUTS

        with formatter.section("Layouts"):
            formatter.write_dl([(name, f"{layout.example} ({layout.meaning})") for name, layout in LAYOUTS.items()])


@click.command(cls=_Ingest)
@click.argument("src", nargs=-1, required=True)
@click.argument("url")
@click.option(
    "--layout",
    multiple=True,
    default=["auto"],
    metavar="NAME",
    help="Of all sources, or once for each; auto, the default, where it is unmistakable.",
)
@click.option(
    "--dataset", multiple=True, metavar="NAME", help="What to call each source; the folders' names by default."
)
@click.option(
    "--angle",
    default="front",
    show_default=True,
    metavar="HOW",
    help="front, half-left, half-right, full-left or full-right.",
)
@click.option(
    "--size",
    type=SideOrShape(),
    metavar="S|H,W",
    help="Side in pixels, or height and width, which may stretch; the photographs' own by default.",
)
@click.option(
    "--dtype", metavar="T", help="uint8, uint16 or float32, with --align none; the photographs' own by default."
)
@click.option("--color", metavar="MODE", help="rgb, the default, or gray.")
@click.option(
    "--normalize",
    default="255",
    show_default=True,
    metavar="HOW",
    help="255, or minmax: each image stretched to 0..255.",
)
@click.option(
    "--align",
    metavar="HOW",
    help="tps, the default, piecewise, affine, three, similarity, pupils, features or none.",
)
@click.option("--reference", metavar="FILE|STORE", help="Landmarks, or an images store, to align to.")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Call a label otherwise in the store.")
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@click.option("--append", is_flag=True, help="Add what the store at URL lacks, in its size, colour and frame.")
@click.option("--follow-links", is_flag=True, help="Read links in a folder that lead out of it, too.")
@seed_option
@strict_option
@cluster_options
@overwrite_option
@json_option
def ingest(
    src: tuple[str, ...], url: str, rename: tuple[str, ...], dataset: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Align the photographs in each SRC, a folder, archive or manifest, and write them into an images store at URL."""
    from mrdist.datasets.alignment import MEANINGS
    from mrdist.pipeline.ingest import ingest

    pairs = [pair.partition("=") for pair in rename]
    for old, equals, new in pairs:
        if not (old and equals and new):
            raise click.BadParameter(f"{old + equals + new!r} is not OLD=NEW.", param_hint="--rename")
    report = ingest(src, url, rename={old: new for old, _, new in pairs}, dataset=dataset or None, **options)
    if as_json:
        print_json(report.to_dict())
        return
    counts = ", ".join(f"{n} {label}" for label, n in report.present.items())
    added = "" if report.images_added == report.images else f", {report.images_added} of them new"
    click.echo(f"{url}: {report.images} people ({counts}), {report.pairs} with every label{added}")
    rows = [
        (label, measure, f"{middle:.4g}", f"{worst:.4g}", who, *MEANINGS[measure])
        for label, measure, middle, worst, who in report.summary()
    ]
    if rows:
        print_table("Alignment", ("label", "measure", "median", "worst", "person", "unit", "usual"), rows)
    for name, reason in report.sources.items():
        if ":" in reason:  # told from the names
            click.echo(f"{name} has the layout {reason}", err=True)
    for what, reason in report.left_out.items():
        click.echo(f"left out {what}: {reason}", err=True)


@click.command()
@click.argument("images")
@click.argument("url")
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@cluster_options
@overwrite_option
@json_option
def rechunk(images: str, url: str, as_json: bool, **options: Any) -> None:
    """Copy the images store IMAGES to URL, with chunks good to train from."""
    from mrdist.pipeline.rechunk import rechunk

    report = rechunk(images, url, **options)
    if as_json:
        print_json(report.to_dict())
        return
    n, height, width, _ = report.chunks
    click.echo(
        f"{url}: chunks of {n} images x {height} x {width} pixels in {report.run_seconds:.1f} s, "
        f"{format_bytes(report.bytes_read)} read, peak memory of a worker {format_bytes(report.peak_memory_bytes)}"
    )


@click.command()
@click.argument("url")
@json_option
def info(url: str, as_json: bool) -> None:
    """Describe the store at URL, also one in the making."""
    from mrdist.pipeline.info import info

    description = info(url)
    if as_json:
        print_json(description)
        return
    tried = description.get("cross_validation", {}).pop("table", [])
    print_table(
        str(description.pop("url")),
        ("", ""),
        [(name, str(value)) for name, value in _flat(description) if value is not None],
    )
    if tried:
        names = [name for name in tried[0] if name != "folds"]
        rows = [[f"{row[name]:.3g}" for name in names] for row in tried]
        print_table("Cross-validation", names, rows)


@click.command()
@click.argument("url")
@click.option("--no-pixels", is_flag=True, help="Look at the arrays alone, and read no pixel.")
@json_option
def check(url: str, no_pixels: bool, as_json: bool) -> None:
    """Say all that is wrong with the images store at URL, by whatever program it was written.

    Ends with 1 if something is.
    """
    from mrdist.storage import check_images

    problems = check_images(url, pixels=not no_pixels)
    if as_json:
        print_json({"url": url, "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{url}: nothing is wrong")
    if problems:
        raise click.exceptions.Exit(1)


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, inner in value.items():
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            inner = {str(number): item for number, item in enumerate(inner)}
        rows += _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [(prefix + name, inner)]
    return rows


COMMANDS = (generate, ingest, rechunk, info, check)
