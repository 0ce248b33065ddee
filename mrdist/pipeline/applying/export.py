"""Write a trained mapping as sparse matrices that other programs open."""

from __future__ import annotations

import io
from os import fspath

import scipy.sparse

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.errors import ParameterError, StoreExistsError
from mrdist.running.driving import driving, hold
from mrdist.storage import StorageOptions, check_apart, normalize_url, open_weights, redact, write_csr
from mrdist.storage.access.places import is_file, write_file

FORMATS = ("csr-zarr", "npz")


@plain_arguments
@driving("export")
def export(
    weights_url: Address,
    out: Address,
    *,
    format: str = "csr-zarr",  # noqa: A002
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> list[str]:
    """Write the mapping as CSR, shape (pixels, pixels + 1), the intercept in the last column.

    Parameters
    ----------
    weights_url
        A weights store.
    out
        Where the matrices go. Separate colour gives one matrix per channel: groups ``channel_0``, ... in a zarr store,
        or files ``<stem>-channel_0.npz``, ...
    format
        ``"csr-zarr"``: AnnData's encoding, which `anndata.io.sparse_dataset` opens; ``"npz"``: SciPy's, for
        `scipy.sparse.load_npz`.
    codec
        Of a zarr store, as in `mrdist.train`.
    overwrite
        Replace an existing store or file.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    ParameterError
        If the format is unknown, or there is no such ``codec``, or one is given for files.
    StoreExistsError
        If ``out`` exists and may not be replaced.
    """
    weights_url, out = fspath(weights_url), fspath(out)
    if format not in FORMATS:
        raise ParameterError(f"format must be one of {', '.join(FORMATS)}, got {format!r}.")
    codec = check_codec(codec)
    if codec is not None and format != "csr-zarr":
        raise ParameterError(f"codec ({codec}) is for the format csr-zarr, got format {format!r}; leave it out.")
    check_apart(weights_url, out)
    model = open_weights(weights_url, storage_options)
    if format == "csr-zarr":
        hold(out, storage_options)
        write_csr(out, model.to_scipy(), codec=codec, overwrite=overwrite, storage_options=storage_options)
        return [out]
    matrices = model.to_scipy()
    stem = normalize_url(out).removesuffix(".npz")
    if not isinstance(matrices, list):
        files = {f"{stem}.npz": matrices}
    else:
        files = {f"{stem}-channel_{c}.npz": m for c, m in enumerate(matrices)}
    for file in files:
        if is_file(file, storage_options) and not overwrite:
            raise StoreExistsError(f"{redact(file)} already exists; use --overwrite (overwrite=True) or another name.")
    for file, matrix in files.items():
        content = io.BytesIO()
        scipy.sparse.save_npz(content, matrix)
        write_file(file, content.getvalue(), storage_options)
    return list(files)
