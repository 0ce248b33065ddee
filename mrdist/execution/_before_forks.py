"""The last import of the server that worker processes are forked from: does once what all of them would do.

Kernels are loaded that lie on the disk. The others are left to the process that begins the workers: it has them
compiled.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from importlib import import_module

from mrdist._kernels.apart import loaded_alone
from mrdist.execution._forking import PREPARES
from mrdist.execution._worker import own_versions, prepare_once

with suppress(Exception), loaded_alone():  # whatever stands against it, a worker meets it again, and tells
    module, name = os.environ[PREPARES].split(":")
    prepare_once(getattr(import_module(module), name))
own_versions()  # reads the metadata of packages, once for all
gc.freeze()  # pages that no collection touches are shared by all workers
