"""Train a mapping from one label of an images store to another, by any method."""

from __future__ import annotations

from typing import Unpack

from mrdist.arguments import Address, plain_arguments, shared_arguments
from mrdist.methods.arguments import TRAINING, TrainArguments
from mrdist.methods.training import TrainReport
from mrdist.pipeline.training._prepare import prepare
from mrdist.running.driving import driving, hold
from mrdist.storage import StorageOptions


@plain_arguments
@driving("train")
@shared_arguments(TRAINING, others="method_options")
def train(
    images_url: Address,
    weights_url: Address,
    *,
    source: str,
    target: str,
    method: str = "mr",
    weights_storage_options: StorageOptions = None,
    **how: Unpack[TrainArguments],
) -> TrainReport:
    """Train a mapping from one label of an images store to another.

    Parameters
    ----------
    images_url
        An images store.
    weights_url
        Where the weights go. An unfinished store of the same training is resumed; a complete one is left
        unchanged.
    source, target
        Labels.
    method
        ``mr``: masked regression; ``pixel``: the same with one input pixel (receptive field 1); ``l2``: ridge
        regression on the whole image; ``kernel``: the same with a Gaussian kernel; ``pca``: regression on principal
        components; ``rrr``: reduced-rank ridge regression; ``l1`` and ``l0``: LASSO and orthogonal matching pursuit on
        the whole image; ``mean``: the mean target, for every input; ``morph``: shape and appearance, by landmarks. An
        option that a method does not have is an error.
    receptive_field, dilation, pool, prior, alpha, color, penalize_intercept
        As in `mrdist.MaskedRegression`, whose defaults they have (of kernel, ``alpha`` is 0.01; of l1, 0.001
        in the convention of `mrdist.baselines.estimators.LassoRegression`). With ``alpha="cv"``,
        cross-validation chooses the penalty, and field and pool where ``receptive_field``, ``dilation`` or ``pool`` are
        several, all from one pass over the images.
    alphas, folds, rule, seed
        Of the cross-validation: penalties to try, ten from 0.001 to 30 by default (l2, rrr to 3000, kernel from 1e-6);
        number of folds, 5 by default, of people drawn by ``seed``, 0 by default; and the rule of choice: the least mean
        error over the folds (``"min"``, the default), the simplest candidate within one standard error of it
        (``"1se"``: the smallest field, then the largest pool and alpha), or for every output pixel its own best alpha
        (``"pixel"``, of mr and pixel alone). l1 and l0 are tried on some 256 output pixels spread over the image.
    gamma
        Of the Gaussian kernel, see `mrdist.baselines.global_estimators.GaussianRidge`.
    components
        Number of principal components, or rank of rrr, by default 32 or as many as the training images allow.
    window
        ``l1``, ``l0``: odd side of the square of input pixels around the output pixel that may be used; all by default.
    max_iterations
        ``l1``: limit per pixel. Pixels that reach it are counted, with a warning.
    nonzeros, tolerance
        ``l0``: weights of a pixel, at most, by default 10 or as many as the training images allow, and the mean squared
        training error at which it needs no more. Of several numbers, or those from 1 to 21 that ``"cv"`` stands for,
        cross-validation chooses one.
    split
        Rows to train on: train, val, test or all.
    dtype
        Of the stored weights, float32 or float64; both are solved in float64.
    block
        Height and width of the unit of work in pixels; the planner chooses one unless given.
    workers
        Worker processes on this machine; 0 works in this process. By default one per processor, or this process if
        the work takes less time here than workers would take to start and fits into ``max_memory`` beside what the
        process holds. What kills a worker costs a block, what kills this process the command, to be repeated.
    scheduler
        A running Dask scheduler: its address, a `distributed.Client` or a cluster object, which stay open and as they
        are. Where neither workers nor a scheduler are given, the client that is current (``Client.current()``) is used,
        and inside a Dask task the task's own cluster.
    max_memory
        Limit on the resident bytes of one worker process.
    codec
        Of the chunks that are written: ``"none"``, ``"lz4"``, or ``"zstd:L"`` with a level L from -5 to -1 or from 1 to
        9, of which small ones are written faster and large ones take less room; ``"zstd:1"`` by default. A checksum
        follows in any case. An unfinished store goes on with its own codec, and refuses another.
    overwrite
        Replace an existing store.
    progress
        Show a progress bar; by default only in a terminal or a notebook.
    storage_options, weights_storage_options
        Options of the fsspec filesystems of the images and of the weights (by default the same).

    method_options
        Further options of the method, if it has others than these.

    Returns
    -------
    TrainReport

    Raises
    ------
    ParameterError
        If an option is invalid.
    DataError
        If there are no pairs, or float images hold NaN or lie outside 0..1.
    StoreError
        If a store is invalid or cannot be read.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    prepared = prepare(
        images_url,
        weights_url,
        how,
        source=source,
        target=target,
        method=method,
        weights_storage_options=weights_storage_options,
    )
    output = prepared.work.run.output
    hold(output.url, output.options)
    return prepared.work.train(prepared.plan)
