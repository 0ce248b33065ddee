"""Run tasks in this process, on a local cluster or on any Dask scheduler: only this package imports Dask."""

from mrdist.execution._cluster import check_choice, open_executor, reach, use_tls
from mrdist.execution._executor import Executor
from mrdist.execution._process import n_processors, peak_memory, progress_bar

__all__ = [
    "Executor",
    "check_choice",
    "n_processors",
    "open_executor",
    "peak_memory",
    "progress_bar",
    "reach",
    "use_tls",
]
