"""Size and speed of masked regression beside the generators of adversarial networks."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mrdist.arguments import plain_arguments
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.synthesis import MaskedWeights, to_pixels

_SECONDS = 0.3  # of repetitions of one model
_REPEATS = 5  # at least


@dataclass(frozen=True)
class ModelSize:
    """What a model takes.

    Attributes
    ----------
    model
        Its name.
    parameters
        Numbers that are stored; of masked regression for all pixels, also the zeros beyond the border.
    bytes
        In memory, four bytes a number.
    seconds
        Median time of one image, colour, from values in 0..255 to such, on one thread.
    """

    model: str
    parameters: int
    bytes: int
    seconds: float


@plain_arguments
def sizes(size: int = 128, *, receptive_field: int = 3) -> list[ModelSize]:
    """Measure masked regression and, where PyTorch is installed, four generators on one colour image.

    The models are untrained: size and time do not depend on training.

    Parameters
    ----------
    size
        Side of the image in pixels, a multiple of 128, since Pix2Pix halves it seven times.
    receptive_field
        Of masked regression, with weights that the channels share.

    Returns
    -------
    list of ModelSize
        Masked regression first; the others (`mrdist.baselines.gan`) only if PyTorch, the extra ``gan``, is installed.

    Raises
    ------
    ParameterError
        If ``size`` is not a positive multiple of 128, or the field is not odd or too large.

    Examples
    --------
    >>> measured = sizes(128)
    >>> measured[0].model, measured[0].parameters, measured[0].bytes
    ('masked regression', 163840, 655360)
    """
    from mrdist.baselines.gan import SIDE_UNIT

    if size < 1 or size % SIDE_UNIT:
        raise ParameterError(
            f"size must be a positive multiple of {SIDE_UNIT}, since Pix2Pix halves an image seven times, got {size}."
        )
    field = ReceptiveField(receptive_field)
    field.check_fits((size, size))
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    coef = np.full((field.n_offsets, size, size), 1 / field.n_offsets, dtype=np.float32)
    weights = MaskedWeights(field, "shared", 3, coef, np.zeros((size, size), dtype=np.float32))
    n_parameters = weights.coef.size + weights.intercept.size
    measured = [
        ModelSize(
            "masked regression",
            n_parameters,
            4 * n_parameters,
            _median_seconds(lambda: to_pixels(weights.predict(image), image.dtype)),
        )
    ]
    return measured + (_generator_sizes(image) if importlib.util.find_spec("torch") else [])


def _generator_sizes(image: npt.NDArray[np.uint8]) -> list[ModelSize]:
    import torch

    from mrdist.baselines.gan import Generator, generators

    def apply(generator: Generator) -> Callable[[], object]:
        def once() -> object:
            signed = np.moveaxis(image, -1, 1).astype(np.float32) / 127.5 - 1
            return to_pixels((generator.predict(signed) + 1) / 2, image.dtype)

        return once

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            ModelSize(each.name, each.n_parameters, 4 * each.n_parameters, _median_seconds(apply(each)))
            for each in generators()
        ]
    finally:
        torch.set_num_threads(n_threads)


def _median_seconds(once: Callable[[], object]) -> float:
    once()  # compiles, and makes the memory that is written to
    seconds: list[float] = []
    with threadpool_limits(1):
        while len(seconds) < _REPEATS or sum(seconds) < _SECONDS:
            started = time.perf_counter()
            once()
            seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
