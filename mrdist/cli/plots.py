"""Commands that draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mrdist.cli.options import (
    Numbers,
    Sizes,
    cluster_options,
    json_option,
    print_json,
    print_table,
    refine_option,
    seed_option,
)
from mrdist.cli.training_options import drawn_dial_options, mapping_options, table_option, usual_option

Command = TypeVar("Command", bound=Callable[..., Any])


out_option = click.option(
    "--out", required=True, metavar="FILE", help="File of the picture; its extension sets the format."
)


@click.group()
def plot() -> None:
    """Draw pictures of a store."""


@plot.command()
@click.argument("weights")
@click.argument("images")
@click.option(
    "--split", default="test", show_default=True, metavar="SPLIT", help="Split of the faces: train, val, test or all."
)
@click.option("--count", type=int, default=6, show_default=True, metavar="N", help="Maximum number of faces.")
@refine_option
@drawn_dial_options
@out_option
@json_option
def faces(weights: str, images: str, out: str, as_json: bool, **options: Any) -> None:
    """Draw inputs, outputs of WEIGHTS and targets."""
    from mrdist.pipeline.showing.plot import plot_faces

    print_picture(plot_faces(weights, images, out, **options), as_json)


@plot.command()
@click.argument("weights")
@click.argument("images", required=False)
@click.option("--radii", type=Numbers(), metavar="A,B,...", help="Radii of the disk, as fractions of the image side.")
@click.option(
    "--smoothings", type=Numbers(), metavar="A,B,...", help="Widths of the Gaussian, as fractions of the image side."
)
@out_option
@json_option
def refinement(weights: str, images: str | None, out: str, as_json: bool, **options: Any) -> None:
    """Draw how important each pixel of WEIGHTS is, over a face of IMAGES, for several disks and smoothings."""
    from mrdist.pipeline.showing.plot import plot_refinement

    given = {name: value for name, value in options.items() if value is not None}
    print_picture(plot_refinement(weights, images, out, **given), as_json)


@plot.command()
@click.argument("weights")
@click.option(
    "--pixel", "pixels", type=Sizes(2, least=0), multiple=True, metavar="Y,X", help="An output pixel; may be repeated."
)
@out_option
@json_option
def receptive_fields(weights: str, out: str, as_json: bool, **options: Any) -> None:
    """Draw the weights of some output pixels of WEIGHTS."""
    from mrdist.pipeline.showing.plot import plot_receptive_fields

    print_picture(plot_receptive_fields(weights, out, **options), as_json)


@plot.command()
@click.argument("weights")
@out_option
@json_option
def intercept(weights: str, out: str, as_json: bool) -> None:
    """Draw the intercept of WEIGHTS, which every output shares."""
    from mrdist.pipeline.showing.plot import plot_intercept

    print_picture(plot_intercept(weights, out), as_json)


@plot.command()
@click.argument("images")
@click.option("--count", type=int, default=12, show_default=True, metavar="N", help="Maximum number of people.")
@click.option(
    "--measure",
    metavar="NAME",
    help="Measure to sort by: correlation, likeness or landmarks by default; or inliers, residual, exposure, offset.",
)
@out_option
@json_option
def alignment(images: str, out: str, as_json: bool, **options: Any) -> None:
    """Draw the people of IMAGES whose photographs were aligned worst, the worst first.

    The measure's unit and usual values are below the picture and in the report of mrdist ingest.
    """
    from mrdist.pipeline.showing.plot_alignment import meaning_of, plot_alignment

    picture, worst = plot_alignment(images, out, **options)
    if as_json:
        print_json({"picture": picture, "worst": [worse._asdict() for worse in worst]})
    else:
        click.echo(picture)
        for worse in worst[:1]:
            click.echo(f"worst: {worse.photograph}, {worse.measure} {worse.value:.3g} ({meaning_of(worse.measure)})")


@plot.command()
@click.argument("weights")
@out_option
@json_option
def cv(weights: str, out: str, as_json: bool) -> None:
    """Draw the errors of the cross-validation that chose alpha and receptive field of WEIGHTS."""
    from mrdist.pipeline.showing.plot import plot_cv

    print_picture(plot_cv(weights, out), as_json)


@plot.command()
@click.option("--size", type=int, default=5, show_default=True, metavar="S", help="Side of the image in pixels.")
@usual_option("receptive_field")
@usual_option("dilation")
@out_option
@json_option
def mask(out: str, as_json: bool, **options: Any) -> None:
    """Draw where masked regression may have weights: the whole matrix of a small image."""
    from mrdist.pipeline.showing.plot import plot_mask

    print_picture(plot_mask(out, **options), as_json)


@plot.command()
@click.argument("images")
@mapping_options
@click.option(
    "--pairs",
    type=Numbers(whole=True),
    metavar="N,...",
    help="Numbers of training pairs; by default 5, 10, 20, ... up to all.",
)
@usual_option("receptive_field", to="receptive_fields", single=False, several=True, chosen="each is a curve")
@usual_option("alpha")
@usual_option("pool")
@table_option("split", help="split whose images are scored", default="test", show_default=True)
@seed_option
@cluster_options
@out_option
@json_option
def learning_curve(images: str, out: str, as_json: bool, **options: Any) -> None:
    """Draw the error of masked regression on people of IMAGES against the number of training pairs."""
    from mrdist.pipeline.showing.plot import plot_learning_curve

    options["pairs"] = options["pairs"] or ()
    scores = plot_learning_curve(images, out, **options)
    if as_json:
        print_json({**scores, "picture": out})
        return
    rows = [
        (str(n), *(f"{errors[k]:.5f}" for errors in scores["curves"].values()), f"{scores['identity']:.5f}")
        for k, n in enumerate(scores["pairs"])
    ]
    print_table("MSE", ("pairs", *scores["curves"], "identity"), rows)
    click.echo(out)


def print_picture(out: str, as_json: bool) -> None:
    """Say where a picture is."""
    if as_json:
        print_json({"picture": out})
    else:
        click.echo(out)
