"""Write a trained mapping as sparse matrices that other programs open."""

from __future__ import annotations

from pathlib import Path

import scipy.sparse

from mrdist.errors import ParameterError, StoreError, StoreExistsError
from mrdist.pipeline._run import driving, hold
from mrdist.storage import StorageOptions, check_apart, is_local, open_weights, write_csr

FORMATS = ("csr-zarr", "npz")


@driving("export")
def export(
    weights_url: str,
    out: str,
    *,
    format: str = "csr-zarr",  # noqa: A002
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> list[str]:
    """Write the mapping as CSR, shape (pixels, pixels + 1), the intercept in the last column.

    Parameters
    ----------
    weights_url
        A weights store.
    out
        Where to. Separate colour gives one matrix a channel: groups ``channel_0``, ... in a zarr store, or files
        ``<stem>-channel_0.npz``, ...
    format
        ``"csr-zarr"``: AnnData's encoding, which `anndata.io.sparse_dataset` opens; ``"npz"``: SciPy's, for
        `scipy.sparse.load_npz`.
    overwrite
        Replace what is there.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    ParameterError
        If the format is unknown.
    StoreExistsError
        If there is something at ``out`` that may not be replaced.
    """
    if format not in FORMATS:
        raise ParameterError(f"format must be one of {', '.join(FORMATS)}, got {format!r}.")
    check_apart(weights_url, out)
    model = open_weights(weights_url, storage_options)
    if format == "csr-zarr":
        hold(out, storage_options)
        write_csr(out, model.to_scipy(), overwrite=overwrite, storage_options=storage_options)
        return [out]
    if not is_local(out):
        raise ParameterError(f"format npz writes local files only, got {out}; use csr-zarr there.")
    matrices = model.to_scipy()
    path = Path(out.removeprefix("file://"))
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    if not isinstance(matrices, list):
        files = {path: matrices}
    else:
        files = {path.with_name(f"{path.stem}-channel_{c}.npz"): m for c, m in enumerate(matrices)}
    for file in files:
        if file.exists() and not overwrite:
            raise StoreExistsError(f"{file} exists; use --overwrite (overwrite=True) or another name.")
    for file, matrix in files.items():
        partial = file.with_name(file.stem + ".partial.npz")
        try:
            scipy.sparse.save_npz(partial, matrix)
            partial.replace(file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreError(
                f"{file} cannot be written ({error.strerror or error}); free some space or choose another place."
            ) from error
    return [str(file) for file in files]
