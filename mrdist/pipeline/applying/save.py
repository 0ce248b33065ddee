"""Write a fitted estimator as a weights store for every verb and `mrdist.open_weights`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from mrdist.arguments import Address, plain, plain_arguments
from mrdist.baselines.dual import images_of
from mrdist.baselines.estimators import SparseRegression
from mrdist.baselines.global_estimators import GaussianRidge, GlobalRegression, MeanTarget
from mrdist.baselines.image_regressor import ImageRegressor
from mrdist.codecs import check_codec
from mrdist.errors import DataError, ParameterError
from mrdist.estimator import MaskedRegression
from mrdist.geometry import Block
from mrdist.methods.domains import Flag
from mrdist.methods.lesson import check_choices, versions
from mrdist.methods.option_table import OPTIONS
from mrdist.methods.registry import METHODS
from mrdist.running.driving import driving, hold
from mrdist.running.workers import output_options
from mrdist.storage import MaskedTraining, StorageOptions, codec_to_use, normalize_url
from mrdist.storage.weights.masked import TrainOutput
from mrdist.storage.weights.output import WeightsOutput
from mrdist.storage.weights.sparse import SparseOutput, SparseTraining
from mrdist.storage.weights.whole import GlobalOutput, GlobalTraining

_DTYPES: dict[int, npt.DTypeLike] = {255: np.uint8, 65535: np.uint16}


@plain_arguments
@driving("save")
def save(
    model: ImageRegressor,
    url: Address,
    *,
    source: str = "source",
    target: str = "target",
    dtype: str = "float64",
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> None:
    """Write a fitted estimator as a weights store; opened with `mrdist.open_weights`, it predicts the same.

    Parameters
    ----------
    model
        A fitted `mrdist.MaskedRegression` or an estimator of `mrdist.baselines`.
    url
        Path or fsspec URL of the weights store.
    source, target
        Names for what it maps from and to, as labels of an images store, which `mrdist.evaluate` and
        `mrdist.synthesize` look up.
    dtype
        Of the stored weights: float64, or float32, the default of `mrdist.train`.
    codec
        As in `mrdist.train`.
    overwrite
        Replace an existing weights store.
    storage_options
        Options of the fsspec filesystem.

    Raises
    ------
    NotFittedError
        If the estimator has not been fitted.
    ParameterError
        If ``model`` is not an estimator of mrdist, ``dtype`` is neither of the two, or there is no such ``codec``.
    StoreExistsError
        If ``url`` exists and may not be replaced.
    StoreError
        If the store cannot be written.
    """
    method = _method_of(model)
    check_is_fitted(model)
    check_choices("shared", dtype=dtype)
    codec = check_codec(codec)
    url = normalize_url(url)
    options = output_options(url, storage_options, None)
    if codec is not None and not overwrite:
        codec_to_use(url, options, codec)
    hold(url, options)
    begin: dict[str, Any] = {"codec": codec, "overwrite": overwrite, "storage_options": options}
    labels = {"source": source, "target": target, "split": "all"}
    training = {"method": method, **labels, "dtype": dtype, **_described(model)}
    output: WeightsOutput | None
    if isinstance(model, MaskedRegression):
        output = _begin_masked(model, url, training, begin)
    elif isinstance(model, SparseRegression):
        output = _begin_sparse(model, url, training, begin)
    else:
        assert isinstance(model, GlobalRegression | MeanTarget)
        output = _begin_global(model, url, training, begin)
    if output is not None:  # else it has been written before
        unsolved: dict[str, Any] = {"unsolved": model.n_unsolved_} if isinstance(model, SparseRegression) else {}
        provenance = {"images": "in memory", "estimator": repr(model), "versions": versions()}
        output.finish(provenance, None, **unsolved)


def _method_of(model: ImageRegressor) -> str:
    """Return the method that an estimator, or one derived from it, fits."""
    classes = [(each.__module__, each.__qualname__) for each in type(model).__mro__]
    for name, method in METHODS.items():
        if method.estimator in classes:
            return name
    raise ParameterError(f"model must be an estimator of mrdist, got {type(model).__name__}.")


def _options_of(method: str, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a method that an estimator was fitted with, as plain values."""

    def stored(name: str, value: Any) -> Any:
        option = OPTIONS[name]
        return bool(value) if isinstance(option.domain, Flag) else option.check(plain(value))

    own = {name: fitted[name] for name in METHODS[method].options if name in fitted}
    return {name: None if value is None else stored(name, value) for name, value in own.items()}


def _described(model: ImageRegressor) -> dict[str, Any]:
    """Return what the descriptions of all trainings have."""
    if not hasattr(model, "image_shape_"):
        raise DataError("the model was fitted by an earlier mrdist, which kept too little to save it; fit it again.")
    height, width, n_channels = model.image_shape_
    return {
        "color": model.fitted_params_["color"],
        "height": height,
        "width": width,
        "n_channels": n_channels,
        "n_images": model.n_images_,
    }


def _fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """Return a hash of the fitted arrays, in place of that of the images, which are gone."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _begin_masked(
    model: MaskedRegression, url: str, described: dict[str, Any], begin: dict[str, Any]
) -> TrainOutput | None:
    field = model.statistics_.field
    training = MaskedTraining(
        **described,
        images=_fingerprint(model.coef_, model.intercept_),
        receptive_field=field.size,
        dilation=field.dilation,
        alpha=model.alpha_,
        penalize_intercept=bool(model.fitted_params_["penalize_intercept"]),
        pool=int(model.fitted_params_.get("pool", 0)),
        prior=model.fitted_params_.get("prior", "zero"),
    )
    output = TrainOutput.begin(url, training, training.arrays, training.shape, **begin)
    if output is not None:
        output.write_block(0, Block(0, 0, *training.shape), model.solution_)
    return output


def _begin_sparse(
    model: SparseRegression, url: str, described: dict[str, Any], begin: dict[str, Any]
) -> SparseOutput | None:
    solution = model.solution_
    training = SparseTraining(
        **described,
        **_options_of(described["method"], model.fitted_params_),
        images=_fingerprint(solution.counts, solution.indices, solution.values),
    )
    output = SparseOutput.begin(url, training, training.error_maps, training.shape, **begin)
    if output is not None:
        output.write_block(0, Block(0, 0, *training.shape), solution)
        for number in range(output.lay_out()):
            output.write_chunk(number)
    return output


def _begin_global(
    model: GlobalRegression | MeanTarget, url: str, described: dict[str, Any], begin: dict[str, Any]
) -> GlobalOutput | None:
    training = GlobalTraining(
        **described,
        **_options_of(described["method"], model.fitted_params_),
        images=_fingerprint(model.intercept_, *(() if isinstance(model, MeanTarget) else (model.coef_, model.basis_))),
    )
    frame, lead = Block(0, 0, *training.shape), (training.n_groups,)
    unit = 255 if isinstance(model, MeanTarget) else model.unit_
    image_dtype = _DTYPES.get(unit, np.float32)  # which holds the 20 bits that count of floats
    output = GlobalOutput.begin(
        url, training, training.arrays(image_dtype, with_norms=isinstance(model, GaussianRidge)), frame.shape, **begin
    )
    if output is None:
        return None
    maps = {
        "intercept": model.intercept_.reshape(*lead, *frame.shape),
        **dict(zip(("train_sse", "train_sst"), model.errors_, strict=True)),
    }
    if not isinstance(model, MeanTarget):
        maps["coef"] = model.coef_.reshape(*lead, -1, *frame.shape)
        rotation = np.stack([dual.rotation for dual in model.duals_])
        if training.components is not None:
            rows = model.basis_ / model.unit_
            maps["basis"] = (np.swapaxes(rotation, 1, 2) @ rows).reshape(*lead, -1, *frame.shape)
        else:
            kernel = isinstance(model, GaussianRidge)
            gamma = {"gamma": model.gamma_} if isinstance(model, GaussianRidge) else {}
            output.write_operators(gamma, {"rotation": rotation, **({"norms": model.norms_} if kernel else {})})
            images = images_of(model.basis_, training.n_channels).reshape(-1, training.n_channels, *frame.shape)
            images = np.moveaxis(images, 1, 3)
            output.write_basis(frame, images if unit in _DTYPES else images / unit)
    output.write_weights(frame, maps)
    return output
