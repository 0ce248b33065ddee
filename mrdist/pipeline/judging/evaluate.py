"""Score a trained mapping on an images store, beside the identity mapping."""

from __future__ import annotations

from collections.abc import Sequence
from os import fspath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import DataError, ParameterError
from mrdist.execution import Scheduler
from mrdist.morphing.dials import Dials
from mrdist.pipeline.applying.check import check_mapping, warn_of_unmoved
from mrdist.pipeline.applying.refine import importance_of
from mrdist.pipeline.judging._own_units import in_own_units
from mrdist.pipeline.judging._scores import score_splits, without_people
from mrdist.planning import DEFAULT_MEMORY
from mrdist.refinement import Refinement
from mrdist.scoring import mean_scores
from mrdist.storage import Images, StorageOptions, WeightsReader, redact
from mrdist.storage.weights.mappings import MappingGroup, is_group

SPLITS = ("train", "val", "test")


@plain_arguments
def evaluate(
    weights_url: Address,
    images_url: Address,
    *,
    splits: Sequence[str] | None = None,
    refine: bool | Refinement = False,
    on: Address | None = None,
    recognition: bool = False,
    strength: float | Literal["own"] | None = None,
    mouth: str | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
) -> dict[str, Any]:
    """Compare the output of a mapping for its source label with its target label.

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
        Report whether a recogniser of expressions, trained on the training split's real faces, recognises the target
        in the synthesised ones, how strongly and how sharply they show it, and whether the nearest real face is still
        the same person's; for all splits that are scored, and for all faces of ``on``.
    strength, mouth
        Of a mapping trained by ``morph``, how strong the expression is and whether it opens the mouth, see
        `mrdist.morphing.dials.Dials`; ``strength="own"`` is the person's own.
    workers, scheduler, max_memory, progress
        As in `mrdist.train`. The scores are the same, whoever works.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the images and of the weights (by default the same).

    Returns
    -------
    dict
        ``["splits"][split][region]`` with the regions ``frame`` and ``face`` (the store's face mask) holds
        ``model`` and ``identity``, each with mse, psnr (dB), ssim and r2, and ``intercept_share``, the mean absolute
        intercept over the sum of those of intercept and weights. Scores are means over images of predictions that
        are not clipped; 1 = white. R2 is the mean over the pixels whose target varies within the split. A score
        that is undefined is None. Of a linked target there is ``rmse``, in its own ``units``. Colour images have
        ``chroma``, the mean absolute difference in CIELAB's a and b of ``model`` and ``identity`` from the
        target, and of the model's ``change`` from the input. With ``refine`` there are a mapping ``refined``, a region
        ``background`` (what is not face) and ``change``, the mean absolute difference of ``model`` and ``refined``
        from the input. ``n_images`` and ``n_people`` count; ``difference``
        holds how far the model's ``mse`` and ``ssim`` are from the identity's, ``ratio`` the model's ``mse`` over the
        identity's: the ``mean`` over people, of ratios the geometric one, with ``low`` and ``high`` of its 95%
        interval (None for a single person), see `mrdist.paired`. Of a group,
        ``["mappings"][name]`` holds this for each mapping, and ``["splits"]`` the means over mappings of every score,
        each over those for which it is defined.
        ``["on"]`` holds ``images`` and ``splits`` of the other store, none if it has no pairs. With ``recognition``,
        ``["people"]`` holds ``recognition``, ``expression``, ``identity`` and ``sharpness`` of each split, as a jury
        judges them (`mrdist.pipeline.judging._jury.Case.judge`), and so does ``["on"]["people"]`` of the other store.

    Raises
    ------
    DataError
        If images and weights do not fit each other, or there are no pairs.
    StoreError
        If a store is invalid or cannot be read.
    """
    weights_url, images_url = fspath(weights_url), fspath(images_url)
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
                strength=strength,
                mouth=mouth,
                workers=workers,
                scheduler=scheduler,
                max_memory=max_memory,
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
            "splits": mean_scores(without_people(scores["splits"]) for scores in each.values()),
        }
    model = WeightsReader.open(weights_url, weights_storage_options).turned(Dials.given(strength, mouth))
    training = model.training
    images = Images.open(images_url, storage_options)
    check_mapping(model, images)
    labels = (training.source, training.target)
    chosen = tuple(dict.fromkeys(splits)) if splits else _splits_with_pairs(images, labels)
    for split in chosen:
        if split not in SPLITS:
            raise ParameterError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    unmoved = warn_of_unmoved(model, images, np.concatenate([images.rows(labels, split) for split in chosen]))
    outside = None if on is None else Images.open(on, storage_options)
    if outside is not None:
        check_mapping(model, outside)
        outside.rows(labels[:1], "all")
    importance = importance_of(weights_url, refine, weights_storage_options)
    cluster: dict[str, Any] = {
        "workers": workers,
        "scheduler": scheduler,
        "max_memory": max_memory,
        "progress": progress,
    }
    scored = score_splits(model, images, chosen, importance=importance, **cluster)
    people: dict[str, Any] = {}
    elsewhere: dict[str, Any] = {}
    if outside is not None:
        has_targets = labels[1] in outside.labels and _paired(outside, labels).any()
        options: dict[str, Any] = {
            "refine": refine,
            "strength": strength,
            "mouth": mouth,
            **cluster,
            "storage_options": storage_options,
            "weights_storage_options": weights_storage_options,
        }
        elsewhere["splits"] = evaluate(weights_url, outside.url, **options)["splits"] if has_targets else {}
    if recognition:
        from mrdist.pipeline.judging._jury import Jury  # brings scikit-learn, which scores do not need

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
            split: in_own_units(of_split.to_dict(), images, labels[1]) for split, of_split in scored.splits.items()
        },
        **scored.told,
        **people,
        **({"unmoved": unmoved} if unmoved else {}),
        **({} if outside is None else {"on": {**elsewhere, "images": redact(outside.url)}}),
    }


def _paired(images: Images, labels: tuple[str, str]) -> npt.NDArray[np.bool_]:
    return np.asarray(images.present[:, [images.column(label) for label in labels]].all(axis=1))


def _splits_with_pairs(images: Images, labels: tuple[str, str]) -> tuple[str, ...]:
    paired = _paired(images, labels)
    with_pairs = tuple(split for split in SPLITS if (paired & (images.split == split)).any())
    if not with_pairs:
        raise DataError(f"{redact(images.url)} has no image with both {labels[0]} and {labels[1]}.")
    return with_pairs
