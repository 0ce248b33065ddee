"""Score a trained mapping on an images store, beside the identity mapping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import DataError, ParameterError
from mrdist.execution import open_executor, progress_bar
from mrdist.geometry import Block, block_grid
from mrdist.moments import padded_window
from mrdist.pipeline._averages import mean_scores
from mrdist.pipeline._blocks import check_workers
from mrdist.pipeline.refine import importance_of
from mrdist.planning import DEFAULT_MEMORY
from mrdist.refinement import Refinement, blend
from mrdist.scoring import SSIM_HALO, BlockScorer, ScoreSums, chroma_difference
from mrdist.storage import Images, StorageOptions, WeightsReader, normalize_url, redact
from mrdist.storage.mappings import MappingGroup, is_group
from mrdist.storage.methods import Codes
from mrdist.synthesis import to_floats

REGIONS = ("frame", "face")
SPLITS = ("train", "val", "test")
_BLOCK = (64, 64)


@dataclass(frozen=True)
class _Task:
    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    source: str
    target: str
    split: str
    block: Block
    #: Of the block and the pixels around it that SSIM sees.
    importance: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class _BlockScores:
    """Score sums by region and mapping, and sums of absolute values by region and what is measured."""

    sums: dict[tuple[str, str], ScoreSums]
    parts: dict[tuple[str, str], float]


@plain_arguments
def evaluate(
    weights_url: Address,
    images_url: Address,
    *,
    splits: Sequence[str] | None = None,
    refine: bool | Refinement = False,
    on: Address | None = None,
    recognition: bool = False,
    workers: int | None = 0,
    scheduler: str | None = None,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
) -> dict[str, Any]:
    """Compare what a mapping makes of its source label with its target label.

    Parameters
    ----------
    weights_url
        A weights store, which knows its labels; or a group of them (`mrdist.train_mappings`).
    images_url
        An images store with these labels.
    splits
        Splits to score; by default those that have pairs.
    refine
        Score the refined results too, as in `mrdist.synthesize`.
    on
        URL of another images store, of people outside the dataset; targets are needed for its scores alone.
    recognition
        Say whether a recogniser of expressions, trained on the training split's real faces, takes the synthesised ones
        for the target, and whether the nearest real face is still the same person's; of all splits scored, and of
        all faces of ``on``.
    workers, scheduler, progress
        As in `mrdist.train`; in this process by default.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the images and of the weights (by default the same).

    Returns
    -------
    dict
        ``["splits"][split][region]`` with the regions ``frame`` and ``face`` (the store's face mask) holds
        ``model`` and ``identity``, each with mse, psnr (dB), ssim and r2, and ``intercept_share``, the mean absolute
        intercept over the sum of those of intercept and weights. Scores are means over images of predictions that
        are not clipped; 1 = white. R2 is the mean over the pixels whose target varies within the split. A score
        that is undefined is None. Colour images have ``chroma``, the mean absolute difference in CIELAB's a and b of
        ``model`` and ``identity`` from the target, and of the model's ``change`` from the input. With ``refine`` there
        are a mapping ``refined``, a region ``background`` (what is not face) and ``change``, the mean absolute
        difference of ``model`` and ``refined`` from the input. Of a group, ``["mappings"][name]`` holds this for each
        mapping, and ``["splits"]`` the means over mappings of every number, each over those for which it is defined.
        ``["on"]`` holds ``images`` and ``splits`` of the other store, none if it has no pairs. With ``recognition``,
        ``["people"]`` holds ``recognition`` and ``identity`` of each split, see `mrdist.pipeline._jury.Jury.judge`,
        and so does ``["on"]["people"]`` of the other store.

    Raises
    ------
    DataError
        If images and weights do not fit each other, or there are no pairs.
    StoreError
        If a store is not what it should be.
    """
    weights_url, images_url = fspath(weights_url), fspath(images_url)
    check_workers(workers, scheduler, weights_url, images_url)
    if weights_storage_options is None:
        weights_storage_options = storage_options
    if is_group(weights_url, weights_storage_options):
        group = MappingGroup.open(weights_url, weights_storage_options)
        each = {
            name: evaluate(
                url,
                images_url,
                splits=splits,
                refine=refine,
                on=on,
                recognition=recognition,
                workers=workers,
                scheduler=scheduler,
                progress=progress,
                storage_options=storage_options,
                weights_storage_options=weights_storage_options,
            )
            for name, url in group.urls.items()
        }
        return {
            "weights": redact(weights_url),
            "images": redact(images_url),
            "mappings": each,
            "splits": mean_scores(found["splits"] for found in each.values()),
        }
    model = WeightsReader.open(weights_url, weights_storage_options)
    training = model.training
    images = Images.open(images_url, storage_options)
    check_mapping(model, images)
    labels = (training.source, training.target)
    chosen = tuple(splits) if splits else _splits_with_pairs(images, labels)
    for split in chosen:
        if split not in SPLITS:
            raise ParameterError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
        images.rows(labels, split)
    outside = None if on is None else Images.open(on, storage_options)
    if outside is not None:
        check_mapping(model, outside)
        outside.rows(labels[:1], "all")
    importance = importance_of(weights_url, refine, weights_storage_options)
    regions = REGIONS if importance is None else (*REGIONS, "background")
    blocks = block_grid(images.shape, _BLOCK)
    tasks = [
        _Task(
            normalize_url(weights_url),
            weights_storage_options,
            images.url,
            storage_options,
            *labels,
            split,
            block,
            None if importance is None else importance[block.grown(SSIM_HALO).clipped(images.shape).slices],
        )
        for split in chosen
        for block in blocks
    ]
    results: dict[tuple[str, Block], _BlockScores] = {}
    codes = {split: model.codes(images, labels[0], images.rows(labels, split)) for split in chosen}
    with (
        open_executor(workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=DEFAULT_MEMORY) as executor,
        progress_bar(len(tasks), 0, "block", show=progress) as advance,
    ):
        for task, result in executor.run(
            _score_block, tasks, codes, name="evaluate", describe=lambda t: f"block {t.block} of split {t.split}"
        ):
            results[task.split, task.block] = result
            advance(1, task.split)
    people: dict[str, Any] = {}
    elsewhere: dict[str, Any] = {}
    if outside is not None:
        scored = labels[1] in outside.labels and _paired(outside, labels).any()
        options: dict[str, Any] = {
            "refine": refine,
            "workers": workers,
            "scheduler": scheduler,
            "progress": progress,
            "storage_options": storage_options,
            "weights_storage_options": weights_storage_options,
        }
        elsewhere["splits"] = evaluate(weights_url, outside.url, **options)["splits"] if scored else {}
    if recognition:
        from mrdist.pipeline._jury import Jury  # brings scikit-learn, which scores do not need

        jury = Jury(images, *labels)
        people = {"people": {split: jury.judge(model, images, split) for split in chosen}}
        if outside is not None:
            elsewhere["people"] = jury.judge(model, outside, "all")
    return {
        "weights": redact(weights_url),
        "images": redact(images_url),
        "source": training.source,
        "target": training.target,
        "splits": {
            split: {region: _summary([results[split, block] for block in blocks], region) for region in regions}
            for split in chosen
        },
        **people,
        **({} if outside is None else {"on": {**elsewhere, "images": redact(outside.url)}}),
    }


def check_mapping(model: WeightsReader, images: Images) -> None:
    """Make sure that the images have the size and channels that the weights map.

    Raises
    ------
    DataError
        If they have not.
    """
    training = model.training
    if (images.shape, images.n_channels) != ((training.height, training.width), training.n_channels):
        raise DataError(
            f"{redact(model.url)} maps images of {training.height} x {training.width} pixels and "
            f"{training.n_channels} channel(s), but {redact(images.url)} has {images.shape[0]} x {images.shape[1]} and "
            f"{images.n_channels}; ingest the images at that size and colour."
        )


def _paired(images: Images, labels: tuple[str, str]) -> npt.NDArray[np.bool_]:
    return np.asarray(images.present[:, [images.column(label) for label in labels]].all(axis=1))


def _splits_with_pairs(images: Images, labels: tuple[str, str]) -> tuple[str, ...]:
    paired = _paired(images, labels)
    found = tuple(split for split in SPLITS if (paired & (images.split == split)).any())
    if not found:
        raise DataError(f"{redact(images.url)} has no image with both {labels[0]} and {labels[1]}.")
    return found


def _summary(blocks: list[_BlockScores], region: str) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for mapping in (mapping for found, mapping in blocks[0].sums if found == region):
        total = blocks[0].sums[region, mapping]
        for block in blocks[1:]:
            total = total + block.sums[region, mapping]
        summary[mapping] = total.scores()
    parts = {
        what: sum(block.parts[region, what] for block in blocks) for found, what in blocks[0].parts if found == region
    }
    n, weights, intercept = (parts.pop(what) for what in ("values", "weights", "intercept"))
    summary["intercept_share"] = intercept / (weights + intercept) if weights + intercept else None
    for what, value in parts.items():
        group, _, name = what.partition(" ")
        summary.setdefault(group, {})[name] = value / n if n else None
    return summary


def _score_block(task: _Task, codes: Mapping[str, Codes | None]) -> _BlockScores:
    images = Images.open(task.images_url, task.images_options)
    model = WeightsReader.open(task.weights_url, task.weights_options)
    shape, block = images.shape, task.block
    wide = block.grown(SSIM_HALO).clipped(shape)
    weights = model.block(wide)
    window = weights.window
    inside = window.clipped(shape)
    within = wide.within(window)
    inner = block.within(wide)
    whole_window = np.zeros(shape, dtype=bool)
    whole_window[SSIM_HALO : shape[0] - SSIM_HALO, SSIM_HALO : shape[1] - SSIM_HALO] = True
    face = images.face_mask[block.slices]
    masks = {"frame": np.ones(block.shape, dtype=bool), "face": face}
    if task.importance is not None:
        masks["background"] = ~face
    scorers: dict[tuple[str, str], BlockScorer] = {}
    parts: defaultdict[tuple[str, str], float] = defaultdict(float)
    reader = images.reader()
    rows = images.rows((task.source, task.target), task.split)
    codes_of_split = codes[task.split]
    intercept = np.abs(weights.intercept)[*inner]
    done = 0
    for start, stop, chosen in images.slabs(rows, images.chunks[0]):
        x = padded_window(reader.read(task.source, start, stop, inside)[chosen], window, (inside.y0, inside.x0))
        target = to_floats(reader.read(task.target, start, stop, wide)[chosen])
        prediction = weights.predict(x, None if codes_of_split is None else codes_of_split[done : done + len(x)])
        done += len(x)
        identity = to_floats(x[:, *within])
        linear = prediction - weights.intercept
        terms = len(x) * images.n_channels / intercept.shape[2]
        mappings = {"model": prediction, "identity": identity}
        changes: dict[str, npt.NDArray[np.floating]] = {}
        if task.importance is not None:
            mappings["refined"] = blend(identity, prediction, task.importance)
            changes = {f"change {name}": np.abs(mappings[name] - identity) for name in ("model", "refined")}
        if images.n_channels == 3:
            for name, one, other in (
                ("model", prediction, target),
                ("identity", identity, target),
                ("change", prediction, identity),
            ):
                changes[f"chroma {name}"] = chroma_difference(one[:, *inner], other[:, *inner])
        for region, mask in masks.items():
            for mapping, made in mappings.items():
                scorer = scorers.setdefault(
                    (region, mapping), BlockScorer(inner, mask, mask & whole_window[block.slices])
                )
                scorer.add(made, target)
            parts[region, "values"] += float(len(x) * mask.sum() * images.n_channels)
            parts[region, "weights"] += float(np.abs(linear[:, *inner][:, mask]).sum(dtype=np.float64))
            parts[region, "intercept"] += float(intercept[mask].sum(dtype=np.float64)) * terms
            for what, values in changes.items():
                cut_out = values if what.startswith("chroma") else values[:, *inner]
                parts[region, what] += float(cut_out[:, mask].sum(dtype=np.float64))
    return _BlockScores({key: scorer.sums() for key, scorer in scorers.items()}, dict(parts))
