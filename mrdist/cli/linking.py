"""The command that links arrays of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from mrdist.cli.options import cluster_options, json_option, overwrite_option, print_json, print_table, seed_option


class _Named(click.ParamType[tuple[str, str]]):
    """A name and what it stands for, such as ``low=data.zarr/t2m``."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        name, equals, other = value.partition("=")
        if not (name and equals and other):
            self.fail(f"{value!r} is not {self.name}.", param, ctx)
        return name, other


def _once(pairs: Sequence[tuple[str, str]], option: str) -> dict[str, str]:
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise click.BadParameter(f"{twice!r} is given twice; give every name once.", param_hint=option)
    return named


def _numbers(text: str, option: str, *, kind: type[int] | type[float], signs: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(signs)]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise click.BadParameter(f"{text!r} is not {what} separated by {signs!r}.", param_hint=option) from None


@click.command()
@click.argument("url")
@click.option(
    "--label",
    "arrays",
    type=_Named(),
    multiple=True,
    required=True,
    metavar="NAME=ADDRESS",
    help="A label, and where its array lies: a zarr array inside a group, or an OME-Zarr image.",
)
@click.option(
    "--dims", metavar="A,B,...", help="Names of the arrays' dimensions, such as image,y,x; by default theirs."
)
@click.option(
    "--select",
    type=_Named(),
    multiple=True,
    metavar="[LABEL.]DIM=I|A:B",
    help="Index of another dimension, such as z=3; of image or channel a range, such as image=0:100.",
)
@click.option("--level", type=int, default=0, show_default=True, help="Of OME-Zarr images; 0 is the finest.")
@click.option(
    "--scale",
    type=int,
    default=1,
    show_default=True,
    help="Pixels that a value of the finest array covers, to apply what a finer target taught to sources alone.",
)
@click.option(
    "--range",
    "ranges",
    type=_Named(),
    multiple=True,
    metavar="LABEL=LOW,HIGH",
    help="Values that become 0 and 1, in the label's own units; by default from attributes or dtype, else measured.",
)
@click.option(
    "--missing",
    default="error",
    show_default=True,
    metavar="HOW",
    help="Pixels that are missing in every image are masked. Missing in some images: error; drop-rows leaves these "
    "images out for the pixels concerned, drop-images altogether; none looks for no missing values.",
)
@click.option(
    "--missing-value",
    "missing_values",
    type=_Named(),
    multiple=True,
    metavar="LABEL=V",
    help="A value that is missing, besides NaN and those that attributes name.",
)
@click.option(
    "--missing-chunks",
    default="error",
    show_default=True,
    metavar="HOW",
    help="error, or fill: the arrays leave out chunks of nothing but their fill value.",
)
@click.option("--image", metavar="NAME", help="Array beside the first label's, or FILE:COLUMN, that names the images.")
@click.option("--subject", metavar="NAME", help="The same, for the subject of each image.")
@click.option("--split", metavar="NAME", help="The same, for train, val and test; by default drawn by subject.")
@click.option("--split-by", metavar="PERIOD", help="year, month or day: images of one are one subject.")
@seed_option
@cluster_options
@overwrite_option
@json_option
def link(
    url: str,
    arrays: Sequence[tuple[str, str]],
    dims: str | None,
    select: Sequence[tuple[str, str]],
    ranges: Sequence[tuple[str, str]],
    missing_values: Sequence[tuple[str, str]],
    as_json: bool,
    **options: Any,
) -> None:
    """Make an images store at URL of arrays where they lie; it holds no pixels."""
    from mrdist.pipeline.ingesting.link import link

    chosen = {}
    for name, text in _once(select, "--select").items():
        indexes = _numbers(text, "--select", kind=int, signs=":")
        chosen[name] = indexes[0] if len(indexes) == 1 else tuple(indexes)
    report = link(
        url,
        _once(arrays, "--label"),
        dims=tuple(part.strip() for part in dims.split(",")) if dims is not None else None,
        select=chosen,
        ranges={
            label: _numbers(text, "--range", kind=float, signs=",") for label, text in _once(ranges, "--range").items()
        },
        missing_values={
            label: _numbers(text, "--missing-value", kind=float, signs=",")[0]
            for label, text in _once(missing_values, "--missing-value").items()
        },
        **options,
    )
    described = report.to_dict()
    for label, one in described["labels"].items():
        if one["changes_seen"] != "of chunks":
            click.echo(
                f"Note: the store of {label} does not list chunks: only changed metadata will be seen.", err=True
            )
    if as_json:
        print_json(described)
        return
    height, width = described["shape"]
    splits = ", ".join(f"{n} {name}" for name, n in described["splits"].items())
    click.echo(f"{url}: {described['images']} images of {height} x {width} pixels ({splits}), linked where they lie")
    rows = [
        (
            label,
            one["dtype"],
            f"{one['range'][0]:g} to {one['range'][1]:g}{' ' + one['units'] if one['units'] else ''}"
            + " (measured)" * one["measured"],
            f"{one['rounding']:.1g}" if one["rounding"] else "exact",
            str(one["present"]),
            str(one["masked_pixels"]),
            one["address"],
        )
        for label, one in described["labels"].items()
    ]
    print_table("Labels", ("label", "dtype", "range", "rounding", "images", "masked pixels", "array"), rows)
