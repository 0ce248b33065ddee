"""What a training will read, write and hold in memory, before anything runs: arithmetic on integers."""

from __future__ import annotations

from mrdist.planning.bands import band_cuts, band_height, part_width, whole_chunks
from mrdist.planning.cuts import Cut, check_block, whole_block
from mrdist.planning.effort import predict_start
from mrdist.planning.scoring import SCORED_BATCH, SCORED_CELL, ScoringPlan, ScoringSizes, plan_scoring
from mrdist.planning.solving import plan_solving
from mrdist.planning.training import Plan, block_bytes, count_requests, plan_training
from mrdist.planning.units import (
    BASE_MEMORY,
    CLIENT_MEMORY,
    COMPILING_MEMORY,
    DEFAULT_MEMORY,
    KERNEL_MEMORY,
    MIB,
    SCHEDULER_MEMORY,
    parse_bytes,
)
from mrdist.planning.workloads import SearchSizes, StoredSums, Workload

__all__ = [
    "BASE_MEMORY",
    "CLIENT_MEMORY",
    "COMPILING_MEMORY",
    "DEFAULT_MEMORY",
    "KERNEL_MEMORY",
    "MIB",
    "SCHEDULER_MEMORY",
    "SCORED_BATCH",
    "SCORED_CELL",
    "Cut",
    "Plan",
    "ScoringPlan",
    "ScoringSizes",
    "SearchSizes",
    "StoredSums",
    "Workload",
    "band_cuts",
    "band_height",
    "block_bytes",
    "check_block",
    "count_requests",
    "parse_bytes",
    "part_width",
    "plan_scoring",
    "plan_solving",
    "plan_training",
    "predict_start",
    "whole_block",
    "whole_chunks",
]
