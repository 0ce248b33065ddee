"""Commands that make and describe stores of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from mrdist.cli.options import (
    Command,
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
from mrdist.cli.training_options import spell, table_option
from mrdist.codecs import DEFAULT_CODEC
from mrdist.methods.option_words import describe, sentence
from mrdist.pipeline.ingesting.options import INGEST
from mrdist.pipeline.ingesting.options import of_catalogs as in_catalog


def generation_options(command: Command) -> Command:
    """Add what describes synthetic faces."""
    return add_options(
        command,
        click.option("--images", type=int, required=True, metavar="N", help="Number of people; each has every label."),
        click.option(
            "--size", type=int, default=128, show_default=True, metavar="S", help="Side of the images in pixels."
        ),
        click.option("--labels", metavar="A,B,...", help="Expressions; all seven by default."),
        click.option("--color", default="rgb", show_default=True, metavar="MODE", help="rgb or gray."),
        seed_option,
        table_option("codec", usual=DEFAULT_CODEC),
    )


@click.command()
@click.argument("url")
@generation_options
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@cluster_options
@overwrite_option
@json_option
def generate(url: str, labels: str | None, as_json: bool, **options: Any) -> None:
    """Write synthetic faces to an images store at URL."""
    from mrdist.datasets.synthetic import LABELS
    from mrdist.pipeline.ingesting.generate import generate

    names = tuple(name.strip() for name in labels.split(",")) if labels is not None else LABELS
    generate(url, labels=names, **options)
    result = {"url": url, "images": options["images"], "labels": list(names)}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{url}: {options['images']} people with {', '.join(names)}")


def ingestion_options(*, several: bool = False, of_catalogs: bool = False) -> Callable[[Command], Command]:
    """Return the decorator that adds what describes photographs.

    Parameters
    ----------
    several
        Whether there may be several sources, each with a layout and a name.
    of_catalogs
        Whether names of a catalogue stand for files and stores.
    """

    def add(command: Command) -> Command:
        made = []
        for name, option in INGEST.items():
            if name in ("seed", "strict"):  # as other commands have them
                continue
            told = in_catalog(option) if of_catalogs else option
            each = several and name in ("layout", "dataset")
            words = sentence(f"{told.phrase}; for all sources, or one for each") if each else describe(told)
            switches, arguments = spell(told, words, told.usual)
            made.append(click.option(*switches, **arguments, multiple=each))
        return add_options(command, *made, seed_option, strict_option)

    return add


rename_option = click.option("--rename", multiple=True, metavar="OLD=NEW", help="Rename a label in the store.")


def names_of(rename: Iterable[str]) -> dict[str, str]:
    """Return the new name of each label that ``--rename`` renames."""
    pairs = [pair.partition("=") for pair in rename]
    for old, equals, new in pairs:
        if not (old and equals and new):
            raise click.BadParameter(f"{old + equals + new!r} is not OLD=NEW.", param_hint="--rename")
    return {old: new for old, _, new in pairs}


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
@ingestion_options(several=True)
@rename_option
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@click.option(
    "--append", is_flag=True, help="Add the images that the store at URL lacks, in its size, colour and frame."
)
@click.option("--follow-links", is_flag=True, help="Also read links that lead out of a source folder.")
@cluster_options
@overwrite_option
@json_option
def ingest(src: tuple[str, ...], url: str, rename: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Align the photographs in each SRC, a folder, archive or manifest, and write them to an images store at URL."""
    from mrdist.datasets.alignment import MEANINGS
    from mrdist.pipeline.ingesting.ingest import ingest

    given = {name: value for name, value in options.items() if value not in (None, ())}
    report = ingest(src, url, rename=names_of(rename), **given)
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
        if ":" in reason:  # detected from the names
            click.echo(f"{name} has the layout {reason}", err=True)
    for what, reason in report.left_out.items():
        click.echo(f"left out {what}: {reason}", err=True)


@click.command()
@click.argument("images")
@click.argument("url")
@click.option("--chunks", type=Sizes(3), metavar="N,Y,X", help="Images, rows and columns of a chunk.")
@table_option("codec", usual=DEFAULT_CODEC)
@cluster_options
@overwrite_option
@json_option
def rechunk(images: str, url: str, as_json: bool, **options: Any) -> None:
    """Copy the images store IMAGES to URL with chunks that suit training."""
    from mrdist.pipeline.ingesting.rechunk import rechunk

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
    """Describe the store at URL, complete or not."""
    from mrdist.pipeline.showing.info import info

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
@click.option("--no-pixels", is_flag=True, help="Check the arrays' metadata only; read no pixels.")
@json_option
def check(url: str, no_pixels: bool, as_json: bool) -> None:
    """Check the images store at URL, whichever program wrote it, and list every problem.

    The exit code is 1 if there is a problem.
    """
    from mrdist.storage import check_images

    problems = check_images(url, pixels=not no_pixels)
    if as_json:
        print_json({"url": url, "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{url}: no problem found")
    if problems:
        raise click.exceptions.Exit(1)


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, inner in value.items():
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            inner = {str(number): item for number, item in enumerate(inner)}
        rows += _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [(prefix + name, inner)]
    return rows
