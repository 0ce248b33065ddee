"""Run tasks in this process, on a local cluster or on any Dask scheduler: only this package imports Dask."""

from mrdist.execution._choice import Choice, choose
from mrdist.execution._cluster import open_executor, reach
from mrdist.execution._executor import Executor
from mrdist.execution._process import has_spare_processor, n_processors, peak_memory, progress_bar
from mrdist.execution._scheduler import Scheduler, address_in, check_choice, contact_of, use_tls

__all__ = [
    "Choice",
    "Executor",
    "Scheduler",
    "address_in",
    "check_choice",
    "choose",
    "contact_of",
    "has_spare_processor",
    "n_processors",
    "open_executor",
    "peak_memory",
    "progress_bar",
    "reach",
    "use_tls",
]
