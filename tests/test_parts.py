"""Progress within a block: a phase of one block moves before it is done, for every method that iterates."""

from __future__ import annotations

import logging

import pytest

import mrdist
from mrdist import parts
from mrdist.methods.registry import METHODS

WORK = {"workers": 0, "progress": False}
SEARCHED = [name for name, method in METHODS.items() if "alphas" in method.options]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A store with several slabs of images, in colour."""
    url = str(tmp_path_factory.mktemp("parts") / "faces.zarr")
    mrdist.generate(url, images=24, size=32, labels=["neutral", "happy"], chunks=(4, 16, 16), **WORK)
    return url


@pytest.fixture
def heard(monkeypatch):
    """All events of progress, told at once and not twice a second."""
    monkeypatch.setattr(parts, "_SECONDS", 0)
    events = []
    handler = logging.Handler()
    handler.emit = lambda record: events.append((record.getMessage(), record.fields))
    logger = logging.getLogger("mrdist.events")
    logger.addHandler(handler)
    yield events
    logger.removeHandler(handler)


def shares(events, phase):
    return [fields["share"] for kind, fields in events if kind in ("part", "block") and fields["phase"] == phase]


@pytest.mark.parametrize(
    ("method", "options"),
    [(name, {}) for name in METHODS]
    + [pytest.param(name, {"alpha": "cv", "alphas": [0.01, 1.0]}, marks=pytest.mark.slow) for name in SEARCHED],
)
def test_every_long_phase_of_one_block_moves(faces, tmp_path, heard, method, options):
    url = str(tmp_path / "out.zarr")
    mrdist.train(faces, url, source="neutral", target="happy", method=method, block=(32, 32), **options, **WORK)
    phases = {fields["phase"]: fields["total"] for kind, fields in heard if kind == "phase"}
    moved = [phase for phase, total in phases.items() if total == 1 and len(shares(heard, phase)) > 1]
    assert moved, phases
    for phase in phases:
        told = shares(heard, phase)
        assert told == sorted(told)
        assert told[-1] == 1
        assert all(0 < share <= 1 for share in told)
    for _, fields in heard:
        if "seconds_left" in fields:
            assert fields["seconds_left"] >= 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*did not converge:UserWarning")
def test_workers_tell_it_too(faces, tmp_path, heard):
    """Two processes, whose clocks let them say it twice a second: a training that takes some seconds."""
    images = str(tmp_path / "faces.zarr")
    mrdist.generate(images, images=24, size=64, labels=["neutral", "happy"], color="gray", **WORK)
    url = str(tmp_path / "out.zarr")
    options = {"method": "l1", "alpha": 1e-5, "max_iterations": 300, "block": (64, 64)}
    mrdist.train(images, url, source="neutral", target="happy", workers=1, progress=False, **options)
    told = shares(heard, "training")
    assert len(told) > 2
    assert told == sorted(told)
