"""dask-jobqueue on a real SLURM: the client of the example, whose connections are encrypted, and equal bytes.

`pytest -m slurm` says what it needs in `test_slurm`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import commands
import pytest

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[1]
LABELS = ("--source", "neutral", "--target", "happy")


def test_workers_that_are_jobs_speak_tls(tmp_path):
    images, weights, expected = (tmp_path / name for name in ("images.zarr", "weights.zarr", "expected.zarr"))
    certificates = tmp_path / "certificates"
    certificates.mkdir(0o700)
    commands.succeed("generate", images, "--images", "12", "--size", "48", "--workers", "0")
    commands.succeed("train", images, expected, *LABELS, "--workers", "0")
    interface = ("--interface", os.environ["MRDIST_INTERFACE"]) if "MRDIST_INTERFACE" in os.environ else ()
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "deploy" / "slurm" / "train_jobqueue.py"), str(images), str(weights)),
            *(*LABELS, "--block", "16", "16", "--jobs", "2", "--walltime", "5", "--max-memory", "1GiB"),
            *("--certificates", str(certificates), *interface),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=4 * commands.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "9 of 9 blocks" in done.stdout
    commands.assert_equal_bytes(weights, expected)
    assert {path.stat().st_mode & 0o077 for path in certificates.iterdir()} <= {0}
