"""The stores on disk or in object storage: images, statistics, weights and sparse matrices, each a zarr v3 group.

Only this package imports zarr, xarray and fsspec. A store carries the attribute ``mrdist`` with its ``kind``,
``format_version`` and whether it is ``complete``.

Its wings stand on one another: ``access`` to places and chunks; then ``images``, and what all stores in the ``making``
share; ``weights``; ``sums``. `mrdist.storage.reading_back` is above them all: it knows what every kind of store in the
making keeps.

Names are loaded on first use: what only looks at a store needs none of the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrdist.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrdist.storage.access.fence import fenced_by
    from mrdist.storage.access.files import File, Source
    from mrdist.storage.access.foreseen import DESCRIPTION, Foreseen, foreseeing
    from mrdist.storage.access.places import read_file
    from mrdist.storage.access.urls import (
        StorageOptions,
        check_apart,
        check_output,
        check_reachable,
        codec_to_use,
        describe,
        is_local,
        normalize_url,
        redact,
        stored_bytes,
    )
    from mrdist.storage.images.alignment import (
        NODES,
        Alignment,
        copy_alignment,
        read_alignment,
        read_frame,
        write_alignment,
        write_frame,
    )
    from mrdist.storage.images.check import check_images
    from mrdist.storage.images.datasets import open_images
    from mrdist.storage.images.face_frame import FaceFrame
    from mrdist.storage.images.growing import (
        Addition,
        additions,
        begin_growth,
        check_growth,
        finish_growth,
        write_addition,
    )
    from mrdist.storage.images.landmarks import Landmarks, write_landmarks
    from mrdist.storage.images.linked import LinkedArray
    from mrdist.storage.images.linked_copies import create_copy, finish_copy, values_per_chunk
    from mrdist.storage.images.linked_writer import write_link
    from mrdist.storage.images.linking import (
        Sizes,
        describe_array,
        read_coordinate,
        use_own_units,
        without_secrets,
    )
    from mrdist.storage.images.links import Link, LinkedStore, OwnUnits
    from mrdist.storage.images.pixels import ImageReader
    from mrdist.storage.images.reader import Images
    from mrdist.storage.images.writer import (
        check_labels,
        chunk_shape,
        create_images,
        finish_images,
        write_images,
        write_window,
    )
    from mrdist.storage.making.lease import Fence, Lease, run_state
    from mrdist.storage.making.progress import IN_THE_MAKING
    from mrdist.storage.making.staging import Staging
    from mrdist.storage.sums.reader import Accumulation, Part, Statistics, open_statistics
    from mrdist.storage.sums.writer import statistics_output
    from mrdist.storage.weights.csr import write_csr
    from mrdist.storage.weights.importance import read_importance, write_importance
    from mrdist.storage.weights.masked import MaskedTraining, TrainOutput
    from mrdist.storage.weights.reader import Model, WeightsReader, open_weights

__all__ = [
    "DESCRIPTION",
    "IN_THE_MAKING",
    "NODES",
    "Accumulation",
    "Addition",
    "Alignment",
    "FaceFrame",
    "Fence",
    "File",
    "Foreseen",
    "ImageReader",
    "Images",
    "Landmarks",
    "Lease",
    "Link",
    "LinkedArray",
    "LinkedStore",
    "MaskedTraining",
    "Model",
    "OwnUnits",
    "Part",
    "Sizes",
    "Source",
    "Staging",
    "Statistics",
    "StorageOptions",
    "TrainOutput",
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
    "codec_to_use",
    "copy_alignment",
    "create_copy",
    "create_images",
    "describe",
    "describe_array",
    "fenced_by",
    "finish_copy",
    "finish_growth",
    "finish_images",
    "foreseeing",
    "is_local",
    "normalize_url",
    "open_images",
    "open_statistics",
    "open_weights",
    "read_alignment",
    "read_coordinate",
    "read_file",
    "read_frame",
    "read_importance",
    "redact",
    "run_state",
    "statistics_output",
    "stored_bytes",
    "use_own_units",
    "values_per_chunk",
    "without_secrets",
    "write_addition",
    "write_alignment",
    "write_csr",
    "write_frame",
    "write_images",
    "write_importance",
    "write_landmarks",
    "write_link",
    "write_window",
]

_ROOMS = {
    "access.fence": ("fenced_by",),
    "access.files": ("File", "Source"),
    "access.foreseen": ("DESCRIPTION", "Foreseen", "foreseeing"),
    "access.places": ("read_file",),
    "access.urls": (
        "StorageOptions",
        "check_apart",
        "check_output",
        "check_reachable",
        "codec_to_use",
        "describe",
        "is_local",
        "normalize_url",
        "redact",
        "stored_bytes",
    ),
    "images.alignment": (
        "NODES",
        "Alignment",
        "copy_alignment",
        "read_alignment",
        "read_frame",
        "write_alignment",
        "write_frame",
    ),
    "images.check": ("check_images",),
    "images.datasets": ("open_images",),
    "images.face_frame": ("FaceFrame",),
    "images.growing": ("Addition", "additions", "begin_growth", "check_growth", "finish_growth", "write_addition"),
    "images.landmarks": ("Landmarks", "write_landmarks"),
    "images.linked": ("LinkedArray",),
    "images.linked_copies": ("create_copy", "finish_copy", "values_per_chunk"),
    "images.linked_writer": ("write_link",),
    "images.linking": ("Sizes", "describe_array", "read_coordinate", "use_own_units", "without_secrets"),
    "images.links": ("Link", "LinkedStore", "OwnUnits"),
    "images.pixels": ("ImageReader",),
    "images.reader": ("Images",),
    "images.writer": ("check_labels", "chunk_shape", "create_images", "finish_images", "write_images", "write_window"),
    "making.lease": ("Fence", "Lease", "run_state"),
    "making.progress": ("IN_THE_MAKING",),
    "making.staging": ("Staging",),
    "sums.reader": ("Accumulation", "Part", "Statistics", "open_statistics"),
    "sums.writer": ("statistics_output",),
    "weights.csr": ("write_csr",),
    "weights.importance": ("read_importance", "write_importance"),
    "weights.masked": ("MaskedTraining", "TrainOutput"),
    "weights.reader": ("Model", "WeightsReader", "open_weights"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__getattr__, __dir__ = loaded_on_use(__name__, _HOMES)
