"""Train several methods on the same people and compare their outputs for other people."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from os import fspath
from typing import Any, Literal

from mrdist.arguments import Address, plain_arguments
from mrdist.execution import Scheduler
from mrdist.methods.registry import METHODS, METHODS_COMPARED
from mrdist.moments import Color
from mrdist.pipeline.judging._components import choose_components
from mrdist.pipeline.judging._contest import plan_comparison
from mrdist.pipeline.judging._jury import JUDGED, Case, Jury
from mrdist.pipeline.judging._measure import measure, rows_of, timed_inputs
from mrdist.pipeline.judging._verdicts import judge, name_of
from mrdist.pipeline.judging.evaluate import SPLITS
from mrdist.pipeline.training.train import train
from mrdist.planning import DEFAULT_MEMORY
from mrdist.storage import (
    Images,
    StorageOptions,
    WeightsReader,
    check_apart,
    check_reachable,
    normalize_url,
    redact,
)
from mrdist.storage.access.files import File
from mrdist.storage.access.places import make_folder, write_file

logger = logging.getLogger("mrdist")

COLUMNS = (
    "method",
    "receptive_field",
    "dilation",
    "alpha",
    "mse",
    "psnr",
    "ssim",
    "r2",
    "relative_mse",
    "parameters",
    "nonzeros",
    "bytes",
    "train_seconds",
    "predict_seconds",
    "face_relative_mse",
    "remark",
    "pool",
    "strength",
    "mouth",
    *JUDGED,
)
RESULTS = "compare.json"


@plain_arguments
def compare(
    images_url: Address,
    *,
    source: str,
    target: str,
    methods: Sequence[str] = METHODS_COMPARED,
    receptive_fields: Sequence[int] = (3,),
    dilations: Sequence[int] = (1,),
    alpha: float | str = "cv",
    pools: Sequence[int] = (0,),
    color: Color = "shared",
    strengths: Sequence[float | Literal["own"]] | None = None,
    mouth: str | None = None,
    recognition: bool = True,
    split: str = "test",
    out: Address = "mrdist-compare",
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
) -> dict[str, Any]:
    """Train every method on the training people and score it on others.

    Parameters
    ----------
    images_url
        An images store.
    source, target, color
        As in `mrdist.train`.
    methods
        Those of `mrdist.train`, and ``identity``.
    receptive_fields, dilations, pools
        Of methods with receptive fields: each combination is a row.
    alpha
        Penalty of the methods that have one. ``cv`` chooses it by cross-validation among the training people; for
        ``l1``, and the number of weights of ``l0``, on some 256 output pixels spread over the frame. Components
        are chosen on the split val, if there is one.
    strengths, mouth
        Of methods that can apply an expression more or less strongly (``Method.has_dials``), see
        `mrdist.morphing.dials.Dials`: each strength is a row, by default 1 and ``"own"``. What is made at each person's
        own strength knows something of the target, so it is scored, but not ranked.
    recognition
        Judge expression, person and sharpness, too, which takes about a tenth of a second for a face and a row.
    split
        Whose images are scored.
    out
        Folder, which may be a URL, for the weights stores and for ``compare.json``, ``compare.csv`` and
        ``compare.png``. Stores that an earlier comparison has finished are reused, and one that was stopped is resumed.
    workers, scheduler, max_memory, overwrite, progress, storage_options
        As in `mrdist.train`.

    Returns
    -------
    dict
        ``split``, ``source``, ``target``, ``images``, ``out``, ``people`` (names of the scored), ``verdicts`` (in
        words, by measure: ``mse``, ``face_mse``, ``ssim``), ``recognition`` (None if it is not asked for: what measures
        the expression, ``by``; the share of the frame whose sharpness counts, ``region``; and what the real faces of
        the target score, ``real``) and ``methods``: a dictionary for each row with
        ``method``, ``receptive_field``, ``dilation``, ``alpha``, ``pool``, ``strength`` and ``mouth`` (None where there
        is none), the scores of the whole frame as in `mrdist.evaluate`, ``relative_mse`` (over that of the identity)
        and ``face_relative_mse``, ``people`` (their scores, by measure), ``from_identity`` and ``from_best`` (how far
        they are from those of the identity and of the best method, by measure, with intervals over people), ``leads``
        (by measure, whether it is the best or cannot be told apart from it), ``remark`` where it is no better than the
        identity, ``expression``, ``recognised``, ``rank_one`` and ``sharpness`` (see
        `mrdist.pipeline.judging._jury.Case.judge`; None if not judged), ``intercept_share``, ``parameters`` that a
        prediction needs and ``nonzeros`` among them, ``bytes`` of the store, ``train_seconds`` with the choice of the
        penalty, without the start of workers (None if the training was interrupted or the store was complete before),
        ``predict_seconds`` for one image in memory, and ``weights``,
        the store's name in ``out``.

    Raises
    ------
    ParameterError
        If a method or an option is not one of its choices, or there is nothing to train.
    DataError, LabelError
        If there are no pairs to train on or to score, or no such label.
    StoreError
        If a store or a file cannot be read or written, or a store of another training is at its place.
    """
    images_url, out = fspath(images_url), fspath(out)
    contest = plan_comparison(
        images_url,
        source=source,
        target=target,
        methods=methods,
        receptive_fields=receptive_fields,
        dilations=dilations,
        alpha=alpha,
        pools=pools,
        color=color,
        strengths=strengths,
        mouth=mouth,
        split=split,
        workers=workers,
        max_memory=max_memory,
        storage_options=storage_options,
    )
    contestants, images = contest.contestants, contest.images
    check_apart(images_url, out)
    check_reachable(workers, images_url, out)
    make_folder(out, storage_options)
    folder = out.rstrip("/")
    results = f"{folder}/{RESULTS}"
    seconds = _seconds_before(results, storage_options)
    comparison: dict[str, Any] = {
        "split": split,
        "source": source,
        "target": target,
        "images": redact(normalize_url(images_url)),
        "shape": list(images.shape),
        "pairs": {each: _count(images, (source, target), each) for each in SPLITS},
        "recognition": None,
        "methods": [],
    }
    cluster: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "progress": progress}
    inputs = timed_inputs(images, source, contest.rows)
    identity: dict[str, Any] = {}
    case: Case | None = None
    n_complete = 0
    for number, contestant in enumerate(contestants, start=1):
        if contestant.method == "identity":
            continue
        url = f"{folder}/{contestant.store}"
        logger.info("%d/%d %s", number, len(contestants), contestant.name)
        options = {
            "source": source,
            "target": target,
            "method": contestant.method,
            "color": color,
            "max_memory": max_memory,
            "overwrite": overwrite,
            "storage_options": storage_options,
            **contestant.options,
            **cluster,
        }
        took: float | None = 0.0
        has_components = "components" in METHODS[contestant.method].options
        if has_components and alpha == "cv" and comparison["pairs"]["val"]:
            options["components"], took = choose_components(
                images_url, f"{folder}/candidates", comparison["pairs"]["train"], options
            )
        trained = train(images_url, url, **options)
        if trained.already_complete:
            n_complete += 1
            took = seconds.get(contestant.store)
        elif took is not None:
            whole = trained.blocks_run == trained.blocks
            took = took + trained.run_seconds - trained.prepare_seconds if whole else None
        if recognition and case is None:
            case = Jury(images, source, target).case(images, split)
            comparison["recognition"] = case.real_faces()
        for dials in rows_of(WeightsReader.open(url, storage_options), contest.dials):
            row, identity = measure(
                url,
                images_url,
                split,
                inputs,
                dials=dials,
                case=case,
                workers=workers,
                scheduler=scheduler,
                max_memory=max_memory,
                storage_options=storage_options,
            )
            comparison["methods"].append({**row, "train_seconds": took, "weights": contestant.store})
        comparison |= judge(comparison["methods"], identity)
        write_file(results, json.dumps(comparison, indent=2).encode(), storage_options)
    if n_complete:
        n_trained = len({row["weights"] for row in comparison["methods"]})
        logger.info("%s: %d of %d weights stores were already complete", redact(folder), n_complete, n_trained)
    if "identity" in methods:
        comparison["methods"].append(identity)
        comparison |= judge(comparison["methods"], identity)
    write_file(results, json.dumps(comparison, indent=2).encode(), storage_options)
    write_file(f"{folder}/compare.csv", to_csv(comparison["methods"]).encode(), storage_options)
    write_file(f"{folder}/compare.png", draw_comparison(comparison), storage_options)
    return {**comparison, "out": out}


def _count(images: Images, labels: tuple[str, str], split: str) -> int:
    paired = images.present[:, [images.column(label) for label in labels]].all(axis=1)
    return int((paired & (images.split == split)).sum())


def _seconds_before(url: str, storage_options: StorageOptions) -> dict[str, float | None]:
    """Return what an earlier comparison in the same folder has measured, by store."""
    try:
        rows = json.loads(File(url, storage_options=storage_options).read_bytes())["methods"]
        return {row["weights"]: row["train_seconds"] for row in rows if row["weights"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of a comparison as CSV, with the columns of `COLUMNS`; a missing value is empty.

    Examples
    --------
    >>> to_csv([{"method": "identity", "mse": 0.25}]).splitlines()[1]
    'identity,,,,0.25,,,,,,,,,,,,,,,,,,'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def draw_comparison(comparison: Mapping[str, Any]) -> bytes:
    """Draw the errors, and against them the sizes, of a comparison; return the file of a PNG."""
    from matplotlib.figure import Figure  # slow to import

    from mrdist.plotting import plot_errors, plot_sizes

    rows = [row for row in comparison["methods"] if row["relative_mse"] is not None]
    figure = Figure(figsize=(11, max(3.6, 0.9 + 0.36 * len(rows))), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_errors({name_of(row): row["relative_mse"] for row in rows}, ax=left)
    plot_sizes(sizes_and_errors(rows), ax=right)
    figure.suptitle(f"{comparison['source']} → {comparison['target']}, {comparison['split']} people")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def looks(row: Mapping[str, Any]) -> bool:
    """Return whether the method of a row is one that learns something from its input.

    Examples
    --------
    >>> looks({"method": "mr"}), looks({"method": "mean"}), looks({"method": "identity"})
    (True, False, False)
    """
    method = METHODS.get(row["method"])  # None of the identity, and of a method of another mrdist
    return row["method"] != "identity" if method is None else method.uses_input


def sizes_and_errors(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
    """Return parameters and relative error of the methods that look at their input, without dilated fields."""
    return {
        name_of(row): (row["parameters"], row["relative_mse"])
        for row in rows
        if looks(row) and row["dilation"] in (None, 1) and row["relative_mse"] is not None
    }
