"""Jobs of a real service: submitted, watched, stopped, resumed, and found again after the worst."""

import json
import signal
import subprocess
import threading
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image
from services import serving

import mrdist

PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
FACES = {"labels": ["neutral", "happy"], "color": "gray"}
LONG = {**PAIR, "images": "large", "block": [16, 16], "receptive_field": 5}  # 64 blocks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder):
    """A service with a small dataset, `faces`, and one whose trainings take a while, `large`."""
    with serving(folder / "catalog", folder / "log", "--workers", "0") as found:
        jobs = [
            found.ask(
                "POST",
                "/datasets",
                {
                    "name": name,
                    "generate": {"images": n, "size": size, "labels": ["neutral", "happy"], "color": "gray"},
                },
            )
            for name, n, size in (("faces", 12, 32), ("large", 40, 128))
        ]
        for label in ("neutral", "happy"):
            place = folder / "catalog/sources/people" / label
            place.mkdir(parents=True)
            for person in "abc":
                Image.fromarray(np.full((32, 32), 90, np.uint8)).save(place / f"{person}.png")
        for job in jobs:
            found.finish(job)
        yield found


@pytest.fixture(scope="module")
def direct(folder, service):
    """What the command line makes of the long training."""
    out = folder / "direct.zarr"
    mrdist.train(
        str(folder / "catalog/datasets/large.zarr"),
        str(out),
        source="neutral",
        target="happy",
        receptive_field=5,
        workers=0,
    )
    return out


def test_a_training_is_what_the_command_line_makes(service, folder, tmp_path):
    job = service.submit("train", "smile", **PAIR)
    assert (job["verb"], job["name"], job["model"], job["dataset"]) == ("train", "smile", "smile", "faces")
    done = service.finish(job)
    assert done["started"] <= done["finished"]
    assert done["last_error"] is None
    assert 0 < done["scores"]["mse"] < 0.1
    faces = folder / "catalog/datasets/faces.zarr"
    mrdist.train(str(faces), str(tmp_path / "w.zarr"), source="neutral", target="happy", workers=0)
    commands.assert_equal_bytes(folder / "catalog/models/smile.zarr", tmp_path / "w.zarr")
    result = service.ask("GET", f"/jobs/{job['id']}/result")["result"]
    assert result["scores"] == done["scores"]
    assert "already in models" in service.refusal(
        409, "POST", "/jobs", {"verb": "train", "name": "smile", "options": PAIR}
    )


@pytest.mark.slow
def test_every_verb_and_method_has_its_end(service):
    jobs = [
        service.submit("train", "all", images="faces", source="neutral", target="all"),
        service.submit("train", "cv", **PAIR, alpha="cv", folds=2, alphas=[0.1, 1.0]),
        service.submit("train", "l2", **PAIR, method="l2"),
        service.submit("compare", "both", **PAIR, methods=["mr", "pixel", "identity"], alpha=0.4, split="train"),
    ]
    ended = [service.finish(job) for job in jobs]
    assert [job["name"] for job in sorted(ended, key=lambda job: job["started"])] == ["all", "cv", "l2", "both"]
    assert service.ask("GET", f"/jobs/{jobs[1]['id']}/result")["result"]["cross_validation"]["chosen"]["alpha"]
    table = service.ask("GET", f"/jobs/{jobs[3]['id']}/result")["result"]["methods"]
    assert [row["method"] for row in table] == ["mr", "pixel", "identity"]
    assert service.ask("GET", "/comparisons") == {"comparisons": ["both"]}
    compared = service.ask("GET", "/comparisons/both")
    assert (compared["complete"], compared["methods"]) == (True, table)
    assert service.raw("GET", "/comparisons/both/picture.png")[2].startswith(b"\x89PNG")
    service.ask("DELETE", "/comparisons/both", status=204)
    service.refusal(404, "GET", "/comparisons/both")
    listed = service.ask("GET", "/jobs?limit=2")["jobs"]
    assert [job["name"] for job in listed] == ["both", "l2"]
    assert {job["state"] for job in service.ask("GET", "/jobs?state=done")["jobs"]} == {"done"}
    assert service.ask("GET", "/jobs?state=failed")["jobs"] == []


def test_photographs_of_the_catalogue_become_a_dataset(service):
    body = {"name": "people", "ingest": {"source": "people", "align": "none", "color": "gray"}}
    service.finish(service.ask("POST", "/datasets", body))
    assert service.ask("GET", "/datasets/people")["images"] == 3
    body["ingest"]["source"] = "nobody"
    assert "no 'nobody'" in service.refusal(404, "POST", "/datasets", body | {"name": "nobody"})


def test_who_watches_sees_it_all(service):
    job = service.submit("train", "watched", **LONG)
    seen = list(service.events(job))
    assert seen[0][0] == "job"
    assert seen[-1][0] == "end"
    states = [data["state"] for kind, _, data in seen if kind == "job"]
    assert states[-1] == "done"
    assert states == sorted(states, key=["queued", "running", "done"].index)
    assert sorted(n for kind, _, data in seen if kind == "blocks" for n in data["done"]) == list(range(64))
    counted = [data["blocks_done"] for kind, _, data in seen if kind == "job" and data["blocks"] == 64]
    assert counted == sorted(counted)
    assert counted[-1] == 64
    assert any(data.get("images_per_second") for _, _, data in seen)
    blocks = service.ask("GET", f"/jobs/{job['id']}/blocks")
    assert blocks == {"shape": [128, 128], "block": [16, 16], "grid": [8, 8], "done": "1" * 64}
    last = seen[-1][1]
    again = list(service.events(job, last))
    assert [kind for kind, *_ in again] == ["end"]
    assert next(kind for kind, *_ in service.events(job, "0-queued")) == "job"


@pytest.mark.slow
def test_a_job_is_cancelled_and_resumed_with_equal_bytes(service, folder, direct):
    model = folder / "catalog/models/stopped.zarr"
    job = service.submit("train", "stopped", **LONG)
    waiting = service.submit("train", "waiting", **PAIR)
    commands.wait_until(lambda: commands.blocks_done(model) > 2, "blocks")
    assert "is running" in service.refusal(409, "DELETE", f"/jobs/{job['id']}")
    assert "needs 'large'" in service.refusal(409, "DELETE", "/datasets/large")
    service.ask("POST", f"/jobs/{waiting['id']}/cancel")
    assert service.wait(waiting)["state"] == "cancelled"
    service.ask("POST", f"/jobs/{job['id']}/cancel")
    stopped = service.wait(job)
    assert stopped["state"] == "cancelled"
    assert not commands.is_whole(model)
    kept = commands.blocks_done(model)
    assert 2 < kept < 64
    assert "is cancelled already" in service.refusal(409, "POST", f"/jobs/{job['id']}/cancel")
    assert "has no result" in service.refusal(409, "GET", f"/jobs/{job['id']}/result")
    assert service.ask("POST", f"/jobs/{job['id']}/resume")["state"] == "queued"
    service.finish(job)
    commands.assert_equal_bytes(model, direct)
    assert service.ask("GET", f"/jobs/{job['id']}/result")["result"]["blocks_run"] <= 64 - kept
    service.ask("DELETE", f"/jobs/{job['id']}", status=204)
    service.refusal(404, "GET", f"/jobs/{job['id']}")
    assert commands.is_whole(model)


def test_a_job_that_fails_says_why_and_can_be_resumed(service, folder):
    model = folder / "catalog/models/broken.zarr"
    model.mkdir()
    (model / "file").write_text("in the way")
    job = service.submit("train", "broken", **PAIR)
    failed = service.wait(job)
    assert failed["state"] == "failed"
    assert failed["last_error"].endswith(".")
    assert "broken.zarr" in failed["last_error"]
    (model / "file").unlink()
    service.ask("POST", f"/jobs/{job['id']}/resume")
    assert service.finish(job)["last_error"] is None


def test_an_idempotency_key_makes_one_job(service):
    body = {"verb": "train", "name": "once", "options": PAIR}
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(service.ask("POST", "/jobs", body, idempotency_key="k")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job["id"] for job in found}) == 1
    done = service.finish(found[0])
    assert service.ask("POST", "/jobs", body, idempotency_key="k")["finished"] == done["finished"]
    other = {**body, "name": "twice"}
    assert "Idempotency-Key" in service.refusal(409, "POST", "/jobs", other, idempotency_key="k")


def test_two_jobs_never_make_the_same(service):
    first = service.submit("train", "same", **LONG)
    body = {"verb": "train", "name": "same", "options": PAIR}
    assert first["id"] in service.refusal(409, "POST", "/jobs", body)
    service.ask("POST", f"/jobs/{first['id']}/cancel")
    service.wait(first)


@pytest.mark.parametrize(
    ("verb", "options", "status", "words"),
    [
        ("train", {**PAIR, "receptive_field": 4}, 422, "receptive_field must be odd"),
        ("train", {**PAIR, "receptive_field": 99}, 422, "99"),
        ("train", {**PAIR, "target": "angry"}, 422, "no label 'angry'"),
        ("train", {**PAIR, "target": "neutral"}, 422, "source and target are both 'neutral'"),
        ("train", {**PAIR, "alpha": -1.0}, 422, "alpha"),
        ("train", {**PAIR, "max_memory": "10MB"}, 422, "max_memory"),
        ("train", {**PAIR, "max_memory": "3GiB"}, 422, "may request"),
        ("train", {**PAIR, "method": "l2", "dilation": 2}, 422, "method l2 has no option dilation"),
        ("train", {**PAIR, "images": "nobody"}, 404, "no dataset 'nobody'"),
        ("train", {**PAIR, "images": "../faces"}, 422, "invalid images "),
        ("train", {**PAIR, "workers": 4}, 422, "invalid workers "),
        ("train", {"images": "faces", "source": "neutral"}, 422, "either target"),
        ("train", {**PAIR, "alpha": 1e999}, 422, "alpha"),
        ("compare", {**PAIR, "methods": ["identity"]}, 422, "nothing to compare"),
        ("generate", {"images": 0}, 422, "invalid images "),
        ("generate", {"images": 1, "size": 5000}, 422, "4096"),
        ("generate", {"images": 1, "labels": ["merry"]}, 422, "merry"),
        ("ingest", {"source": "../../etc"}, 422, "invalid source "),
        ("ingest", {"source": "people", "layout": "nonsense"}, 422, "nonsense"),
        ("paint", {}, 422, "verb"),
    ],
)
def test_what_cannot_be_is_told_before_it_is_queued(service, verb, options, status, words):
    before = service.ask("GET", "/jobs")
    assert words in service.refusal(status, "POST", "/jobs", {"verb": verb, "name": "impossible", "options": options})
    assert service.ask("GET", "/jobs") == before


def test_a_plan_is_that_of_the_command_line(service, folder):
    found = service.ask("POST", "/plans", {"verb": "train", "options": PAIR}, 200)
    done = commands.report("plan", folder / "catalog/datasets/faces.zarr", "--source", "neutral", "--target", "happy")
    for name in ("n_blocks", "block", "bytes_read", "bytes_written", "peak_memory", "slab", "amplification"):
        assert found[name] == done[name]
    assert found["seconds"] > 0
    other = service.ask("POST", "/plans", {"options": {**PAIR, "method": "l2"}}, 200)
    assert other["peak_memory"] > 0
    assert other["seconds"] is None
    assert "odd" in service.refusal(422, "POST", "/plans", {"options": {**PAIR, "receptive_field": 2}})


def test_the_commands_of_clients(service):
    there = ("--url", service.url)
    pair = ("--source", "neutral", "--target", "happy")
    job = commands.report("submit", "train", "faces", "asked", *pair, *there)
    assert job["options"] == PAIR
    service.finish(job)
    assert commands.report("jobs", job["id"], *there)["state"] == "done"
    assert commands.report("jobs", "--limit", "1", *there)["jobs"][0]["id"] == job["id"]
    assert "asked" in commands.succeed("jobs", *there).stdout
    assert "can be cancelled" in commands.failure("cancel", job["id"], *there)
    assert "odd" in commands.failure("submit", "train", "faces", "odd", *pair, "--receptive-field", "4", *there)
    long = commands.report("submit", "train", "large", "asked-long", *pair, "--block", "16,16", *there)
    assert commands.report("cancel", long["id"], *there)["state"] in ("stopping", "cancelled")
    assert service.wait(long)["state"] == "cancelled"
    assert "no service answers" in commands.failure("jobs", "--url", "http://127.0.0.1:9")


@pytest.fixture
def another(folder, service, tmp_path):
    """A catalogue of its own with the dataset `large`."""
    (tmp_path / "catalog/datasets").mkdir(parents=True)
    (tmp_path / "catalog/datasets/large.zarr").symlink_to(folder / "catalog/datasets/large.zarr")
    return tmp_path / "catalog"


@pytest.mark.slow
def test_killed_with_its_job_a_service_begins_where_it_was(another, direct, tmp_path):
    with serving(another, tmp_path / "log", "--workers", "0") as killed:
        job = killed.submit("train", "first", **LONG)
        commands.wait_until(lambda: commands.blocks_done(another / "models/first.zarr") > 2, "blocks")
        killed.kill()
    with serving(another, tmp_path / "log", "--workers", "0") as found:
        found.finish(job)
    commands.assert_equal_bytes(another / "models/first.zarr", direct)


@pytest.mark.slow
def test_a_job_that_is_killed_again_and_again_is_given_up(another, tmp_path):
    with serving(another, tmp_path / "log", "--workers", "0") as service:
        job = service.submit("train", "doomed", **LONG)
        for n in range(1, 4):
            runner = commands.wait_until(lambda n=n: _worker_of(tmp_path / "log", job, n), f"its process {n}")
            subprocess.run(["kill", "-9", str(runner)], check=True)
        failed = service.wait(job, "failed")
        assert "was killed 3 times (exit code -9)" in failed["last_error"]
        service.ask("POST", f"/jobs/{job['id']}/resume")
        service.finish(job)


@pytest.mark.slow
def test_a_machine_that_fails_loses_nothing(another, direct, tmp_path):
    with serving(another, tmp_path / "log", "--workers", "0") as killed:
        jobs = [killed.submit("train", name, **LONG) for name in ("first", "second")]
        runner = commands.wait_until(lambda: _worker_of(tmp_path / "log", jobs[0], 1), "the job to be begun")
        commands.wait_until(lambda: commands.blocks_done(another / "models/first.zarr") > 2, "blocks")
        killed.kill()
        subprocess.run(["kill", "-9", str(runner)], check=True)
    with serving(another, tmp_path / "log", "--workers", "0") as found:
        for job in jobs:
            found.finish(job)
    for name in ("first", "second"):
        commands.assert_equal_bytes(another / f"models/{name}.zarr", direct)


def _worker_of(log, job, count):
    """Return the process that is the ``count``-th to work on a job."""
    lines = [line for line in Path(log).read_text().splitlines() if job["id"] in line and "runs in process" in line]
    return int(lines[count - 1].rpartition(" ")[2]) if len(lines) >= count else None


@pytest.mark.slow
def test_two_services_share_a_queue(another, direct, tmp_path):
    with (
        serving(another, tmp_path / "one", "--workers", "0", "--max-running", "2") as one,
        serving(another, tmp_path / "two", "--workers", "0", "--max-running", "2") as two,
    ):
        jobs = [(one, two)[n % 2].submit("train", f"model-{n}", **LONG) for n in range(4)]
        for job in jobs:
            two.finish(job)
    worked = (tmp_path / "one").read_text() + (tmp_path / "two").read_text()
    for n, job in enumerate(jobs):
        assert worked.count(f"job {job['id']} (train model-{n}) runs in process") == 1
        commands.assert_equal_bytes(another / f"models/model-{n}.zarr", direct)


@pytest.mark.slow
def test_a_service_that_is_stopped_leaves_its_jobs_to_the_next(another, direct, tmp_path):
    with serving(another, tmp_path / "log", "--workers", "0") as stopped:
        job = stopped.submit("train", "kept", **LONG)
        watching = threading.Thread(target=lambda: list(stopped.events(job)))
        watching.start()
        commands.wait_until(lambda: commands.blocks_done(another / "models/kept.zarr") > 2, "blocks")
        stopped.process.send_signal(signal.SIGTERM)
        assert stopped.process.wait(60) == 130
        watching.join(10)
        assert not watching.is_alive()
    record = json.loads((another / f"jobs/{job['id']}.json").read_text())
    assert record["state"] == "queued"
    with serving(another, tmp_path / "log", "--workers", "0") as found:
        found.finish(job)
    commands.assert_equal_bytes(another / "models/kept.zarr", direct)
