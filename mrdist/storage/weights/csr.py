"""Sparse matrices in AnnData's on-disk encoding, which `anndata.io.sparse_dataset` opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrdist.storage.access.codecs import compressors_of
from mrdist.storage.access.urls import (
    StorageOptions,
    check_format,
    clear_output,
    create_group,
    store_errors,
)

if TYPE_CHECKING:
    import scipy.sparse

CHUNK = 1 << 18


def write_csr(
    url: str,
    matrix: scipy.sparse.csr_array | list[scipy.sparse.csr_array],
    *,
    codec: str | None = None,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> None:
    """Write one matrix as a group, or several as the groups ``channel_0``, ``channel_1``, ... of one.

    Parameters
    ----------
    url, storage_options
        Where.
    matrix
        What.
    codec
        As in `mrdist.export`.
    overwrite
        Replace a store of mrdist that is there.

    Raises
    ------
    StoreExistsError
        If ``url`` holds something else, or a complete store and ``overwrite`` is False.
    """
    clear_output(url, storage_options, kind="csr", overwrite=overwrite)
    with store_errors(url):
        root = create_group(url, storage_options, "csr", codec=codec)
        single = not isinstance(matrix, list)
        matrices: dict[str, Any] = {"": matrix} if single else {f"channel_{c}": m for c, m in enumerate(matrix)}
        for name, values in matrices.items():
            group = root if single else root.create_group(name)
            for part in ("data", "indices", "indptr"):
                array = getattr(values, part)
                if part == "indptr":
                    array = array.astype("int64")
                group.create_array(
                    part,
                    data=array,
                    chunks=(min(CHUNK, max(len(array), 1)),),
                    compressors=compressors_of(root),
                    config={"write_empty_chunks": True},
                )
            group.update_attributes(
                {
                    "encoding-type": "csr_matrix",
                    "encoding-version": "0.1.0",
                    "shape": [int(n) for n in values.shape],
                }
            )
        root.attrs["mrdist"] = {**check_format(root, url), "complete": True}
