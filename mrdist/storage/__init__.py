"""The stores on disk or in object storage: images, statistics, weights and sparse matrices, each a zarr v3 group.

Only this package imports zarr, xarray and fsspec. A store carries the attribute ``mrdist`` with its ``kind``,
``format_version`` and whether it is ``complete``.
"""

from mrdist.storage.alignment import (
    NODES,
    Alignment,
    copy_alignment,
    read_alignment,
    read_frame,
    write_alignment,
    write_frame,
)
from mrdist.storage.csr import write_csr
from mrdist.storage.face_frame import FaceFrame
from mrdist.storage.fence import fenced_by
from mrdist.storage.files import File, Source
from mrdist.storage.growing import Addition, additions, begin_growth, check_growth, finish_growth, write_addition
from mrdist.storage.images import Images, open_images
from mrdist.storage.images_check import check_images
from mrdist.storage.images_writer import (
    check_labels,
    chunk_shape,
    create_images,
    finish_images,
    write_images,
    write_window,
)
from mrdist.storage.importance import read_importance, write_importance
from mrdist.storage.lease import Fence, Lease, run_state
from mrdist.storage.methods import Model, WeightsReader, open_weights
from mrdist.storage.staging import Staging
from mrdist.storage.statistics import Accumulation, Part, Statistics, open_statistics
from mrdist.storage.statistics_writer import statistics_output
from mrdist.storage.urls import (
    StorageOptions,
    check_apart,
    check_output,
    check_reachable,
    describe,
    is_local,
    normalize_url,
    redact,
    stored_bytes,
)
from mrdist.storage.weights import Training, train_output

__all__ = [
    "NODES",
    "Accumulation",
    "Addition",
    "Alignment",
    "FaceFrame",
    "Fence",
    "File",
    "Images",
    "Lease",
    "Model",
    "Part",
    "Source",
    "Staging",
    "Statistics",
    "StorageOptions",
    "Training",
    "WeightsReader",
    "additions",
    "begin_growth",
    "check_apart",
    "check_growth",
    "check_images",
    "check_labels",
    "check_output",
    "check_reachable",
    "chunk_shape",
    "copy_alignment",
    "create_images",
    "describe",
    "fenced_by",
    "finish_growth",
    "finish_images",
    "is_local",
    "normalize_url",
    "open_images",
    "open_statistics",
    "open_weights",
    "read_alignment",
    "read_frame",
    "read_importance",
    "redact",
    "run_state",
    "statistics_output",
    "stored_bytes",
    "train_output",
    "write_addition",
    "write_alignment",
    "write_csr",
    "write_frame",
    "write_images",
    "write_importance",
    "write_window",
]
