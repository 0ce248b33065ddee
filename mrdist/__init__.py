"""mrdist: distributed, out-of-core masked regression from zarr stores on Dask.

Public names are loaded on first use, so that ``import mrdist`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrdist.lazy import loaded_on_use

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mrdist.estimator import MaskedRegression
    from mrdist.geometry import ReceptiveField
    from mrdist.moments import SufficientStatistics
    from mrdist.pipeline.applying.refine import refine
    from mrdist.pipeline.applying.save import save
    from mrdist.pipeline.judging.sizes import sizes
    from mrdist.pipeline.training.accumulate import accumulate
    from mrdist.pipeline.training.mappings import train_mappings
    from mrdist.pipeline.training.plan import plan
    from mrdist.pipeline.training.solve import solve
    from mrdist.pipeline.training.train import train
    from mrdist.refinement import Refinement
    from mrdist.storage import (
        check_images,
        create_images,
        finish_images,
        open_images,
        open_statistics,
        open_weights,
        write_images,
    )

__all__ = [
    "MaskedRegression",
    "ReceptiveField",
    "Refinement",
    "SufficientStatistics",
    "accumulate",
    "check_images",
    "compare",
    "create_images",
    "demo",
    "estimate",
    "evaluate",
    "export",
    "finish_images",
    "generate",
    "info",
    "ingest",
    "link",
    "open_images",
    "open_statistics",
    "open_weights",
    "plan",
    "rechunk",
    "refine",
    "report",
    "save",
    "sizes",
    "solve",
    "synthesize",
    "train",
    "train_mappings",
    "write_images",
]

_ROOMS = {
    "ingesting": ("generate", "ingest", "link", "rechunk"),
    "training": ("accumulate", "estimate", "plan", "solve", "train"),
    "applying": ("export", "refine", "save", "synthesize"),
    "judging": ("compare", "evaluate", "sizes"),
    "showing": ("demo", "info", "report"),
}
_HOMES = {
    **{verb: f"pipeline.{room}.{verb}" for room, verbs in _ROOMS.items() for verb in verbs},
    "train_mappings": "pipeline.training.mappings",
    "MaskedRegression": "estimator",
    "ReceptiveField": "geometry",
    "Refinement": "refinement",
    "SufficientStatistics": "moments",
    **dict.fromkeys(("check_images", "create_images", "write_images", "finish_images"), "storage"),
    **dict.fromkeys(("open_images", "open_statistics", "open_weights"), "storage"),
}

__getattr__, __dir__ = loaded_on_use(__name__, _HOMES)
