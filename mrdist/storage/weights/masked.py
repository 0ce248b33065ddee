"""Weights stores of masked regression: written block by block, resumable, complete or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, ReceptiveField
from mrdist.morphing.landmark_sums import LIPS, Lips
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.at_once import at_once
from mrdist.storage.access.fence import check_fence
from mrdist.storage.access.urls import array_of, store_errors
from mrdist.storage.weights.output import Training, WeightsOutput, chunk_side
from mrdist.storage.weights.reader import Codes, Model, WeightsReader
from mrdist.synthesis import MaskedWeights
from mrdist.values import check_values

if TYPE_CHECKING:
    from mrdist.solvers import Prior, Solution  # with kernels that those do without who only read

_LATER = {"pool": 0, "prior": "zero", "drops_rows": False}


@dataclass(frozen=True, kw_only=True)
class MaskedTraining(Training):
    """Everything that decides the bytes of a weights store of masked regression.

    Besides what `mrdist.storage.weights.output.Training` has:

    Attributes
    ----------
    receptive_field, dilation, alpha, penalize_intercept
        As in `mrdist.MaskedRegression`; alpha is None where every pixel has its own.
    pool, prior
        Likewise. A stored training that does not say them, such as one of an earlier mrdist, has these defaults.
    drops_rows
        Whether pixels leave out the images in which a value that they need is missing. The array ``n_rows`` then says
        how many rows each regression had.
    """

    layout = "masked"
    method: str = "mr"
    receptive_field: int
    dilation: int
    alpha: float | None
    penalize_intercept: bool
    pool: int = 0
    prior: Prior = "zero"
    drops_rows: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into the attribute ``training``: without the later ones, what it was before these."""
        said = super().to_dict()
        return {name: value for name, value in said.items() if name not in _LATER or value != _LATER[name]}

    def lenders(self, block: Block) -> Block:
        """Return the pixels whose sums a block of output pixels needs."""
        return block.lenders(self.pool, self.shape)

    @property
    def field(self) -> ReceptiveField:
        """The receptive field."""
        return ReceptiveField(self.receptive_field, self.dilation)

    @property
    def arrays(self) -> list[ArraySpec]:
        """The layout of the weights."""
        inputs = {"channel_in": self.n_channels} if self.color == "joint" else {}
        return [
            self.array_of_pixels("coef", self.dtype, **inputs, offset=self.field.n_offsets),
            self.array_of_pixels("intercept", self.dtype),
            *self.error_maps,
            *([self.array_of_pixels("alpha", np.float64)] if self.alpha is None else []),
            *([self.map_of_pixels("n_rows", np.int64)] if self.drops_rows else []),
            ArraySpec.holding("offsets", self.field.offsets, "offset", "axis"),
        ]


@dataclass(frozen=True, kw_only=True)
class MorphTraining(MaskedTraining):
    """Everything that decides the bytes of a weights store of shape and appearance.

    Besides what `MaskedTraining` has, which is said of the regression on warped images:

    Attributes
    ----------
    landmarks
        Hash of the landmarks trained on.
    scheme, n_points
        What they mean, as in `mrdist.storage.Landmarks`, and how many there are.
    """

    layout = "morph"
    method: str = "morph"
    landmarks: str
    scheme: str
    n_points: int

    @property
    def lips(self) -> Lips | None:
        """Where the lips are among the landmarks, if that is known."""
        return LIPS.get(self.scheme)


_TRAININGS = {kind.layout: kind for kind in (MaskedTraining, MorphTraining)}


def training_of(attributes: Mapping[str, Any], **chosen: Any) -> MaskedTraining:
    """Return what a store's attributes say of its training, with what was chosen since."""
    kind = _TRAININGS[attributes.get("layout") or MaskedTraining.layout]
    return kind(**{**attributes["training"], **chosen})


class TrainOutput(WeightsOutput):
    """A weights store of masked regression in the making."""

    training: MaskedTraining
    training_type = MaskedTraining

    @classmethod
    def described(cls, attributes: Mapping[str, Any]) -> MaskedTraining:
        """Return what its attributes say of the training."""
        return training_of(attributes)

    def write_block(
        self,
        index: int,
        block: Block,
        solution: Solution,
        alpha: npt.NDArray[np.float64] | None = None,
        n_rows: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Write a block, then its done marker.

        Parameters
        ----------
        index
            Position in the raster order of the grid.
        block
            Its pixels.
        solution
            Its weights.
        alpha
            Penalties, shape (group, y, x), where every pixel has its own.
        n_rows
            Of the regressions, shape (y, x), where pixels leave rows out; by default all.
        """
        side = chunk_side((self.training.height, self.training.width))
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        dtype = self.training.dtype
        group = 0 if self.training.color == "shared" else slice(None)
        coef, intercept = solution.as_stored(self.training.color)
        parts = {"coef": coef.astype(dtype), "intercept": intercept.astype(dtype)}
        parts |= {"train_sse": solution.sse[group], "train_sst": solution.sst[group]}
        if alpha is not None:
            parts["alpha"] = np.broadcast_to(alpha, solution.intercept.shape)[group]
        if self.training.drops_rows:
            all_rows = self.training.n_images * self.training.rows_per_image
            parts["n_rows"] = np.full(block.shape, all_rows) if n_rows is None else n_rows

        def write(name: str) -> None:
            self._array(name)[..., *block.slices] = parts[name]

        with store_errors(self._url):
            at_once([check_fence, *(partial(write, name) for name in parts)])
            self.progress.mark(index)

    def _n_values(self) -> int:
        if not self.training.drops_rows:
            return super()._n_values()
        n_rows = np.asarray(array_of(self._group, "n_rows")[...])
        return int(n_rows.sum()) * (self.training.n_channels // self.training.rows_per_image)


@dataclass(frozen=True)
class MaskedModel(MaskedWeights, Model):
    """A mapping trained by masked regression: a `MaskedWeights` that knows its store."""


@dataclass(frozen=True)
class MaskedBlock:
    """Weights of a block of output pixels, see `mrdist.storage.weights.reader.BlockWeights`."""

    window: Block
    weights: MaskedWeights

    @property
    def intercept(self) -> npt.NDArray[np.floating]:
        """Shape (y, x, group)."""
        return np.moveaxis(self.weights.intercept.reshape(-1, *self.weights.shape), 0, -1)

    def predict(self, x: npt.NDArray[np.generic], codes: Codes | None) -> npt.NDArray[np.floating]:
        """Return the block of the images whose windows are ``x``."""
        assert codes is None
        check_values(x)
        return self.weights.predict_window(x)


class MaskedReader(WeightsReader):
    """Reads a complete weights store of masked regression whole or block by block."""

    training: MaskedTraining
    training_type: ClassVar[type[MaskedTraining]] = MaskedTraining

    @property
    def field(self) -> ReceptiveField | None:  # type: ignore[override]
        """What an output pixel sees."""
        return None if self.makes_whole_images else self.training.field

    @property
    def unlearnt(self) -> npt.NDArray[np.bool_] | None:
        """Pixels, shape (y, x), for which no image had all values that they need; None if there are none."""
        pixels = self._read("n_rows", self.frame) == 0 if self.training.drops_rows else np.zeros(0, dtype=bool)
        return pixels if pixels.any() else None

    @property
    def reach(self) -> int:
        """Rows beyond a block that its windows need."""
        return self.training.field.reach

    @property
    def numbers_per_pixel(self) -> int:
        """Weights and intercepts of an output pixel."""
        n_groups, n_inputs = self.training.n_groups, self.training.n_inputs
        return n_groups * n_inputs * (n_inputs * self.training.field.n_offsets + 1)

    def read(self, block: Block) -> MaskedWeights:
        """Return the weights of a block of output pixels."""
        training = self.training
        return MaskedWeights(
            training.field,
            training.color,
            training.n_channels,
            self._read("coef", block),
            self._read("intercept", block),
        )

    def block(self, block: Block) -> MaskedBlock:
        """Return the weights of a block with the window of input pixels that it needs."""
        return MaskedBlock(block.grown(self.training.field.halo), self.read(block))

    def norms(self, block: Block, *, intercept: bool) -> npt.NDArray[np.float64]:
        """Return the l1 norm of every output pixel's weights in a block."""
        return self.read(block).norms(intercept=intercept)

    def model(self) -> MaskedModel:
        """Return the whole mapping."""
        weights = self.read(self.frame)
        return MaskedModel(
            field=weights.field,
            color=weights.color,
            n_channels=weights.n_channels,
            coef=weights.coef,
            intercept=weights.intercept,
            **self.known,
        )
