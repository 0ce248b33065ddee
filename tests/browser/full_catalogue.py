"""A catalogue as a lab has it after some months, filled cheaply: models of all methods, jobs of all states."""

from datetime import UTC, datetime, timedelta

import numpy as np
import zarr
from photographs import write_photographs

import mrdist
from mrdist.methods.registry import METHODS
from mrdist.service.catalog import Catalog
from mrdist.service.job_records import JobRecord
from mrdist.service.jobs import Jobs

WORK = {"workers": 0, "progress": False}
MODELS = 21
JOBS = 30
EXPRESSIONS = ["neutral", "afraid", "angry", "disgusted", "happy", "sad"]
LAB = {"source": "neutral", "target": "happy"}


def fill(folder):
    """Fill a catalogue: five datasets, MODELS models, a comparison, JOBS records of jobs."""
    datasets, models = folder / "datasets", folder / "models"
    people = {"images": 24, "size": 32, "labels": ["neutral", "happy", "surprised", "angry"]}
    for name, options in {
        "faces": people,
        "faces-second-visit-of-the-same-people-2025": {**people, "seed": 1},
        "gray": {**people, "color": "gray", "seed": 2},
        "wall": {**people, "images": 12, "size": 48, "labels": EXPRESSIONS},
    }.items():
        mrdist.generate(str(datasets / f"{name}.zarr"), **{**options, **WORK})
    _link_arrays(datasets / "sea.zarr")
    write_photographs(folder / "sources" / "london", 3)
    for index in range(MODELS - 4):
        method = list(METHODS)[index % len(METHODS)]
        images = "faces" if index < len(METHODS) else "gray"
        side = {"receptive_field": 5} if index > len(METHODS) and method == "mr" else {}
        model = str(models / f"{method}-of-{images}{'-5x5' if side else ''}.zarr")
        mrdist.train(str(datasets / f"{images}.zarr"), model, **LAB, method=method, **side, **WORK)
    every = str(models / "every.zarr")
    mrdist.train_mappings(str(datasets / "faces.zarr"), every, source="neutral", both_ways=False, **WORK)
    long = "a-name-as-long-as-the-catalogue-takes-names-of-its-models-63.zarr"
    other = {"source": "neutral", "target": "disgusted", "alpha": "cv"}
    mrdist.train(str(datasets / "wall.zarr"), str(models / long), **other, **WORK)
    compared = str(folder / "comparisons" / "methods.compared")
    some = {"methods": ["mr", "pixel", "l2", "identity"], "recognition": False, "out": compared}
    mrdist.compare(str(datasets / "faces.zarr"), **LAB, **some, **WORK)
    _write_jobs(folder)


def _link_arrays(url):
    """Fields of somebody else, linked as a dataset."""
    group, rng = zarr.create_group(url.parent.parent / "climate.zarr"), np.random.default_rng(0)
    for name in ("coarse", "fine"):
        values = 280 + rng.normal(0, 1, (20, 32, 28)).cumsum(axis=1).astype("f4")
        values[:, 4:9, 3:11] = np.nan
        axes = {"dimension_names": ("time", "lat", "lon"), "attributes": {"units": "K"}}
        group.create_array(name, data=values, chunks=(5, 16, 28), **axes)
    mrdist.link(str(url), {name: str(url.parent.parent / "climate.zarr" / name) for name in ("coarse", "fine")}, **WORK)


def _write_jobs(folder):
    """Records of jobs that have ended, in all the ways that jobs end."""
    jobs = Jobs(Catalog.open(str(folder)))
    now = datetime.now(UTC)
    for index in range(JOBS - 2):
        submitted = now - timedelta(hours=2 + 7 * index)
        state = ("done", "done", "failed", "done", "cancelled")[index % 5]
        verb = ("train", "train", "train", "generate", "ingest")[index % 5]
        method = list(METHODS)[index % len(METHODS)]
        options = {"images": "faces", **LAB, "method": method}
        if verb == "generate":
            options = {"images": 300, "size": 128, "labels": ["neutral", "happy"]}
        elif verb == "ingest":
            options = {"source": "london", "size": 128}
        elif index == 5:
            options |= {"alpha": "cv", "receptive_field": [3, 5], "color": "separate"}
        done = 12 if state == "done" else 5
        record = JobRecord(
            id=f"{submitted:%Y%m%dt%H%M%S%f}-{index:08x}",
            verb=verb,
            name=f"{method}-of-faces" if verb == "train" else f"{verb}-{index}",
            options=options,
            user=(None, "ada", "grace")[index % 3],
            state=state,
            submitted=submitted,
            started=submitted + timedelta(seconds=2),
            finished=submitted + timedelta(seconds=95),
            blocks=12,
            blocks_done=done,
            done="1" * done + "0" * (12 - done),
            model=f"{method}-of-faces" if verb == "train" else None,
            dataset="faces" if verb == "train" else None,
            last_error=FAILED if state == "failed" else None,
            warnings=[EDGE] if index == 5 else [],
        )
        jobs.write(record)
        last = FAILED if state == "failed" else "done"
        lines = ["two workers in processes of their own", "training: 0 of 12 are done", last]
        log = [{"time": submitted.isoformat(), "level": "info", "message": line} for line in lines]
        log[-1]["level"] = "error" if state == "failed" else "info"
        jobs.write_log(record.id, log)
        if index % 4 == 1:
            jobs.note(record.id, "Repeat with the photographs of the second visit.", ["paper", "second visit"])


FAILED = (
    "the array of 'happy' has the wrong bytes in chunk 3.0.0 (checksum 1b2c3d4e, expected 5f6a7b8c); restore the store "
    "from a copy, or import its photographs again."
)
EDGE = "the best alpha, 10.0, is the largest of those tried; give larger ones with --alphas."
