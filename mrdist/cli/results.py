"""Commands that use a trained mapping."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mrdist.cli.options import (
    Numbers,
    cluster_options,
    format_bytes,
    json_option,
    overwrite_option,
    print_json,
    print_table,
    refine_option,
    seed_option,
    strict_option,
)
from mrdist.cli.training_options import dial_options, shared_option, table_option, usual_option
from mrdist.codecs import DEFAULT_CODEC
from mrdist.methods.option_table import OPTIONS, SHARED

if TYPE_CHECKING:
    from mrdist.pipeline.applying.reports import StoreSynthesisReport, SynthesisReport


@click.command()
@click.argument("weights")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR|URL", help="Folder for the pictures, or URL of the new store.")
@refine_option
@dial_options
@click.option(
    "--points",
    type=Numbers(4, 8),
    metavar="X1,Y1,X2,Y2[,...]",
    help="Pupils of the photograph in pixels, the left one first; then, if you like, the corners of the mouth.",
)
@click.option(
    "--faces",
    metavar="largest|all",
    help="Of a photograph with several faces, which ones change: the largest (the default) or all.",
)
@click.option("--landmark-model", metavar="FILE", help="A .task file of MediaPipe's face landmarker, to find faces.")
@click.option("--contact-sheet", is_flag=True, help="Also write contact-sheet.png: photographs before and after.")
@strict_option
@cluster_options
@table_option("max_memory", help=f"{OPTIONS['max_memory'].help}, for a store", usual=SHARED["max_memory"])
@table_option("codec", help=f"{OPTIONS['codec'].phrase}, for a store", usual=DEFAULT_CODEC)
@overwrite_option
@json_option
def synthesize(weights: str, inputs: tuple[str, ...], out: str, as_json: bool, **options: Any) -> None:
    """Apply WEIGHTS to the photographs INPUTS, and write DIR/<stem>.png for each; or to one images store.

    A photograph may have any size. A landmark file beside it or --points locate the face; otherwise it is detected
    (best after pip install 'mrdist[landmarks]'), and a photograph without a face is left out. Only the face changes. A
    photograph of the trained size without landmarks or points counts as aligned. INPUTS may
    be folders and patterns. A face that is dark, turned or unlike the
    training's gives a warning; --json has the measures of all faces.

    If INPUTS is an images store, its images of the source label become an images store of the target label at URL.
    A group of mappings writes one folder or store for each, with its name, inside DIR or URL.
    """
    from mrdist.pipeline.applying.reports import GroupSynthesisReport
    from mrdist.pipeline.applying.synthesize import synthesize

    report = synthesize(weights, inputs, out, **options)
    if as_json:
        print_json(report.to_dict())
    elif isinstance(report, GroupSynthesisReport):
        for name, each in report.reports.items():
            _print_synthesis(f"{out.rstrip('/')}/{name}", each)
    else:
        _print_synthesis(out, report)


def _print_synthesis(out: str, report: SynthesisReport | StoreSynthesisReport) -> None:
    from mrdist.pipeline.applying.reports import SynthesisReport

    if isinstance(report, SynthesisReport):
        click.echo(f"{out}: {len(report.written)} picture(s)")
        if report.contact_sheet is not None:
            click.echo(report.contact_sheet)
        for what, reason in report.left_out.items():
            click.echo(f"left out {what}: {reason}", err=True)
    else:
        click.echo(
            f"{out}: {report.present} of {report.images} images made {report.label} in {report.run_seconds:.1f} s, "
            f"peak memory of a worker {format_bytes(report.peak_memory_bytes)}"
        )


@click.command()
@click.argument("weights")
@click.argument("images")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="SPLIT",
    help="Split to score; by default all that have pairs.",
)
@refine_option
@dial_options
@click.option("--on", metavar="URL", help="Another images store to score, with people outside the dataset.")
@click.option("--recognition", is_flag=True, help="Also score how well expression and person are recognised.")
@cluster_options
@shared_option("max_memory")
@json_option
def evaluate(weights: str, images: str, as_json: bool, **options: Any) -> None:
    """Score WEIGHTS and the identity mapping on the images store IMAGES; for a group, all mappings and their means."""
    from mrdist.pipeline.judging.evaluate import evaluate

    scores = evaluate(weights, images, **options)
    if as_json:
        print_json(scores)
    else:
        print_scores(scores)


_SCORES = ("MSE", "ratio", "PSNR dB", "SSIM", "R2", "intercept")


def print_scores(scores: dict[str, Any]) -> None:
    """Print the scores of `mrdist.evaluate` as a table; for a group, those of every mapping and the means."""
    if "mappings" in scores:
        _print_scores_of_group(scores)
        return
    from mrdist.pipeline.judging._verdicts import ratio_sentence

    elsewhere = scores.get("on", {})
    for title, splits in ((f"{scores['source']} -> {scores['target']}", scores["splits"]),
                          (elsewhere.get("images", ""), elsewhere.get("splits", {}))):  # fmt: skip
        rows = [
            (split, region, mapping, *_score_texts(region_scores, mapping))
            for split, regions in splits.items()
            for region, region_scores in regions.items()
            for mapping in ("model", "refined", "identity")
            if mapping in region_scores
        ]
        if rows:
            print_table(title, ("split", "region", "mapping", *_SCORES), rows)
            for split, regions in splits.items():
                for region, region_scores in regions.items():
                    click.echo(f"{split}, {region}: {ratio_sentence(region_scores)}")
    people = dict(scores.get("people", {}))
    if "people" in elsewhere:
        people[elsewhere["images"]] = elsewhere["people"]
    if people:
        header = ("whose", "faces", "real", "input", "synthesised", "drop", "rank 1", "people")
        print_table(f"recognised as {scores['target']}, and as themselves", header, _people_rows(people))
        by = next(iter(people.values()))["expression"]["by"]
        columns = ("whose", "real", "input", "synthesised", "sharpness of input", "of synthesised")
        title = f"how strongly {scores['target']}, by {by} (0 the mean source, 1 the mean target), and how sharply"
        print_table(title, columns, _strength_rows(people))


def _strength_rows(people: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for whose, measures in people.items():
        shown, sharp = measures["expression"], measures["sharpness"]
        values = (shown["real"], shown["input"], shown["synthesised"], sharp["input"], sharp["synthesised"])
        rows.append((whose, *("-" if value is None else f"{value:.2f}" for value in values)))
    return rows


def _people_rows(people: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for whose, measures in people.items():
        seen, known = measures["recognition"], measures["identity"]
        shares = (seen["real"], seen["input"], seen["synthesised"], seen["drop"], known["rank_one"])
        texts = ["-" if share is None else f"{share:.0%}" for share in shares]
        rows.append((whose, str(seen["faces"]), *texts, f"{known['people']}"))
    return rows


def _print_scores_of_group(scores: dict[str, Any]) -> None:
    for split, regions in scores["splits"].items():
        for region, means in regions.items():
            rows = [
                (name, *_score_texts(mapping_scores["splits"][split][region], "model"))
                for name, mapping_scores in scores["mappings"].items()
                if split in mapping_scores["splits"]
            ]
            rows += [("mean", *_score_texts(means, "model")), ("mean of identity", *_score_texts(means, "identity"))]
            print_table(f"{split}, {region}", ("mapping", *_SCORES), rows)


def _score_texts(scores: dict[str, Any], mapping: str) -> list[str]:
    numbers, identity = scores[mapping], scores["identity"]["mse"]
    values = (
        (numbers["mse"], ".5f"),
        (numbers["mse"] / identity if identity else None, ".3f"),
        (numbers["psnr"], ".2f"),
        (numbers["ssim"], ".4f"),
        (numbers["r2"], ".3f"),
        (scores["intercept_share"] if mapping == "model" else None, ".3f"),
    )
    return ["-" if value is None else f"{value:{form}}" for value, form in values]


@click.command()
@click.argument("weights")
@click.option("--radius", type=float, metavar="R", help="Radius of the dilation, as a fraction of the image side.")
@click.option("--smoothing", type=float, metavar="S", help="Width of the Gaussian, as a fraction of the image side.")
@click.option("--low", type=float, metavar="Z", help="z-score up to which the importance is 0.")
@click.option("--high", type=float, metavar="Z", help="z-score from which the importance is 1.")
@click.option("--signed/--absolute", default=None, help="--absolute: norms below the mean are important, too.")
@click.option("--intercept/--no-intercept", default=None, help="Include the intercept in the norm.")
@json_option
def refine(weights: str, as_json: bool, **options: Any) -> None:
    """Store in WEIGHTS how important each pixel is, for `--refine` of synthesize and evaluate.

    The importance is the l1 norm of the pixel's weights, standardised, dilated, smoothed and clipped to 0..1.
    """
    from mrdist.pipeline.applying.refine import refine
    from mrdist.refinement import Refinement

    refinement = Refinement(**{name: value for name, value in options.items() if value is not None})
    importance = refine(weights, refinement).to_dict()
    if as_json:
        print_json(importance)
    else:
        click.echo(f"{weights}: mean importance {importance['mean_importance']:.3f}")


@click.command()
@click.argument("weights")
@click.argument("out")
@click.option("--format", "format", default="csr-zarr", show_default=True, metavar="F", help="Format: csr-zarr or npz.")
@table_option("codec", help=f"{OPTIONS['codec'].phrase}, for csr-zarr", usual=DEFAULT_CODEC)
@overwrite_option
@json_option
def export(weights: str, out: str, as_json: bool, **options: Any) -> None:
    """Write WEIGHTS as sparse matrices to OUT."""
    from mrdist.pipeline.applying.export import export

    written = export(weights, out, **options)
    if as_json:
        print_json({"written": written, "format": options["format"]})
    else:
        click.echo("\n".join(written))


@click.command()
@click.option("--out", default="mrdist-demo", show_default=True, metavar="DIR", help="Folder for all output.")
@seed_option
@cluster_options
@json_option
def demo(out: str, as_json: bool, **options: Any) -> None:
    """Run the main workflow on synthetic faces: generate, train, score, draw."""
    from mrdist.pipeline.showing.demo import demo

    report = demo(out, **options)
    if as_json:
        print_json(asdict(report))
        return
    print_scores(report.scores)
    click.echo(f"stores: {report.images}, {report.weights}\nfaces:  {report.faces}\nlook at {report.picture}")


@click.command()
@click.option(
    "--size", type=int, default=128, show_default=True, metavar="S", help="Side of the image: a multiple of 128."
)
@usual_option("receptive_field")
@json_option
def sizes(size: int, receptive_field: int, as_json: bool) -> None:
    """Measure size and speed of masked regression and, with PyTorch (the extra `gan`), of GAN generators."""
    from mrdist.pipeline.judging.sizes import sizes

    models = sizes(size, receptive_field=receptive_field)
    if as_json:
        print_json({"size": size, "trained": False, "models": [asdict(each) for each in models]})
        return
    rows = [(m.model, f"{m.parameters:,}", format_bytes(m.bytes), f"{1000 * m.seconds:.3g}") for m in models]
    print_table(f"{size} x {size} x 3", ("model", "parameters", "size", "ms per image"), rows)
    click.echo("One thread; untrained: size and time do not depend on training.")
    if len(models) == 1:
        click.echo(
            "Install PyTorch (`pip install 'mrdist[gan]'`) to see Pix2Pix, CycleGAN, StarGAN and GANimation.", err=True
        )
