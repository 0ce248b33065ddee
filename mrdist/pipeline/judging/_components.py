"""How many components a comparison gives to the methods that have them, which do not choose by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrdist.pipeline.judging.evaluate import evaluate
from mrdist.pipeline.training.train import train

_CANDIDATES = (2, 4, 8, 16, 32)


def choose_components(
    images_url: str, folder: str, n_pairs: int, options: Mapping[str, Any]
) -> tuple[int, float | None]:
    """Return the number of components with the least error on the split val, and the seconds of its search.

    Parameters
    ----------
    images_url
        An images store with pairs in the split val.
    folder
        Where the candidates' weights go; the next comparison reuses them.
    n_pairs
        To train on: there are fewer components than pairs.
    options
        Of `mrdist.train`.

    Returns
    -------
    components : int
    seconds : float or None
        None if an earlier comparison trained a candidate, in part or whole.
    """
    errors: list[tuple[float, int]] = []
    seconds: float | None = 0.0
    for components in [1, *(candidate for candidate in _CANDIDATES if candidate < n_pairs)]:
        url = f"{folder}/{options['method']}-{components}.zarr"
        trained = train(images_url, url, **options, components=components)
        whole = trained.blocks_run == trained.blocks
        seconds = seconds + trained.run_seconds - trained.prepare_seconds if whole and seconds is not None else None
        scores = evaluate(url, images_url, splits=["val"], progress=False, storage_options=options["storage_options"])
        errors.append((scores["splits"]["val"]["frame"]["model"]["mse"], components))
    return min(errors)[1], seconds
