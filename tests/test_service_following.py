"""Jobs that follow each other, are found by a part of their name, and say what command makes them."""

from __future__ import annotations

import json
import shlex

import click
import commands
import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.cli import following, jobs
from mrdist.errors import MrdistError
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.command_lines import command_line
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings
from mrdist.service.supervisor import Supervisor

LABELS = {"source": "neutral", "target": "happy"}
FACES = {"images": 12, "size": 32, "labels": [*LABELS.values()]}
TRAINING = {"images": "faces", **LABELS}


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A service in this process, which also works on the jobs, whenever a test lets its supervisor look at them."""
    catalog, settings = Catalog.open(str(tmp_path / "catalog")), Settings(workers=0)
    monkeypatch.setattr(Supervisor, "_start", lambda _, record: run(Order(catalog.url, record.id, settings)))
    app = create_app(catalog, settings)
    client = TestClient(app, base_url="http://127.0.0.1")
    client.catalog, client.desk = catalog, app.state.desk
    return client


def ask(service, method, path, status=200, **body):
    answer = service.request(method, f"/api/v1{path}", **({"json": body} if body else {}))
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def submit(service, verb, name, status=202, **options):
    return ask(service, "POST", "/jobs", status, verb=verb, name=name, options=options)


def end(service, job):
    """Work until a job has ended."""

    def ended():
        service.desk.supervisor._tick()
        found = ask(service, "GET", f"/jobs/{job['id']}")
        return found if found["state"] in ("done", "failed", "cancelled") else None

    return commands.wait_until(ended, "the end of a job")


# --- one after the other --------------------------------------------------------------------------------


def test_a_job_begins_when_what_it_needs_is_made(service):
    maker = submit(service, "generate", "faces", **FACES)
    train = submit(service, "train", "smile", **TRAINING)
    assert (train["state"], train["after"]) == ("queued", [maker["id"]])
    assert end(service, train)["state"] == "done"
    assert ask(service, "GET", f"/jobs/{maker['id']}")["state"] == "done"
    assert mrdist.info(service.catalog.url_of("models", "smile"))["complete"] is True
    assert submit(service, "train", "again", **TRAINING)["after"] == []


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_it_ends_with_one_sentence_when_that_is_not_made(service, verb):
    maker = submit(service, "generate", "faces", **FACES)
    second = submit(service, verb, "second", **TRAINING)
    ask(service, "POST", f"/jobs/{maker['id']}/cancel", 202)
    found = end(service, second)
    assert (found["state"], found["last_error"]) == (
        "failed",
        f"job {maker['id']}, which was to make 'faces', was cancelled; resume it, then this one.",
    )
    for job in (maker, second):
        ask(service, "POST", f"/jobs/{job['id']}/resume", 202)
    assert ask(service, "GET", f"/jobs/{second['id']}")["after"] == [maker["id"]]
    ask(service, "POST", f"/jobs/{second['id']}/cancel", 202)
    assert end(service, second)["state"] == "cancelled"  # without waiting for the other


def test_what_could_not_be_checked_before_is_checked_then(service):
    submit(service, "generate", "faces", **FACES)
    wrong = submit(service, "train", "angry", images="faces", source="neutral", target="angry")
    found = end(service, wrong)
    assert found["state"] == "failed"
    assert "has no label 'angry'; it has neutral, happy." in found["last_error"]
    assert str(service.catalog.url) not in found["last_error"]


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("train", {**TRAINING, "target": "neutral"}, "both 'neutral'"),
        ("compare", {**TRAINING, "target": "neutral"}, "both 'neutral'"),
        ("train", {**TRAINING, "receptive_field": 4}, "odd"),
        ("train", {**TRAINING, "max_memory": "900TiB"}, "max_memory"),
    ],
)
def test_what_can_be_checked_before_is(service, verb, options, words):
    submit(service, "generate", "faces", **FACES)
    assert words in submit(service, verb, "second", 422, **options)["detail"]


def test_a_dataset_that_a_waiting_job_needs_is_kept(service):
    submit(service, "generate", "faces", **FACES)
    waiting = submit(service, "train", "smile", **TRAINING)
    mrdist.generate(service.catalog.url_of("datasets", "faces"), **FACES, workers=0, progress=False)
    detail = ask(service, "DELETE", "/datasets/faces", 409)["detail"]
    assert "needs 'faces'" in detail or "makes" in detail
    assert waiting["after"]


# --- found ----------------------------------------------------------------------------------------------


def test_the_list_is_searched_and_paged(service):
    made = [submit(service, "generate", f"faces-{n}", **FACES)["id"] for n in range(5)][::-1]
    first = ask(service, "GET", "/jobs?limit=2")
    second = ask(service, "GET", f"/jobs?limit=2&before={first['next']}")
    third = ask(service, "GET", f"/jobs?limit=2&before={second['next']}")
    assert [job["id"] for page in (first, second, third) for job in page["jobs"]] == made
    assert third["next"] is None
    for words, expected in {
        "faces-3": made[1:2],
        made[2]: made[2:3],
        made[2][:9]: made,
        "FACES": made,
        "no": [],
    }.items():
        assert [job["id"] for job in ask(service, "GET", f"/jobs?search={words}")["jobs"]] == expected, words


def test_notes_and_tags_stay_when_the_job_goes_on(service):
    job = submit(service, "generate", "faces", **FACES)
    ask(service, "PATCH", f"/jobs/{job['id']}", note="for the talk", tags=["talk", "talk", "small"])
    found = end(service, job)
    assert (found["note"], found["tags"]) == ("for the talk", ["talk", "small"])
    assert [each["id"] for each in ask(service, "GET", "/jobs?search=small")["jobs"]] == [job["id"]]
    ask(service, "PATCH", f"/jobs/{job['id']}", note=None, tags=[])
    assert ask(service, "GET", "/jobs?search=talk")["jobs"] == []
    ask(service, "PATCH", f"/jobs/{job['id']}", 422, tags=[""])


def test_many_are_deleted_at_once_but_those_that_have_not_ended(service):
    ended = submit(service, "generate", "first", **FACES)["id"]
    ask(service, "POST", f"/jobs/{ended}/cancel", 202)
    end(service, {"id": ended})
    queued = submit(service, "generate", "second", **FACES)["id"]
    found = ask(service, "DELETE", f"/jobs?job={ended}&job={queued}")
    assert found["deleted"] == [ended]
    assert "cancel it before" in found["kept"][queued]


# --- said -----------------------------------------------------------------------------------------------


def test_warnings_are_in_the_record_and_all_is_in_the_log(service):
    mrdist.generate(service.catalog.url_of("datasets", "faces"), **FACES, workers=0, progress=False)
    job = end(service, submit(service, "train", "edge", **TRAINING, alpha="cv", folds=2, alphas=[100.0, 1000.0]))
    assert job["state"] == "done"
    assert any("edge of the grid" in warning for warning in job["warnings"])
    lines = ask(service, "GET", f"/jobs/{job['id']}/log")["lines"]
    assert set(job["warnings"]) <= {line["message"] for line in lines if line["level"] == "warning"}
    assert any("are done" in line["message"] for line in lines)
    assert str(service.catalog.url) not in str(lines)


SAID = {
    "train": [
        {"images": "faces", "source": "neutral", "target": "happy"},
        {"images": "faces", "source": "neutral", "mappings": "all", "alpha": "cv", "alphas": [0.1, 1e-05]},
        {"images": "faces", "source": "neutral", "target": "all", "penalize_intercept": False, "block": [16, 32]},
        {"images": "faces", "source": "neutral", "target": "happy", "penalize_intercept": True, "max_memory": "1GiB"},
        {"images": "faces", "source": "neutral", "target": "happy", "method": "l0", "nonzeros": [3, 5]},
    ],
    "compare": [
        {"images": "faces", "source": "neutral", "target": "happy"},
        {
            **TRAINING,
            "methods": ["mr", "l2"],
            "receptive_fields": [3, 5],
            "dilations": [1, 2],
            "pools": [0, 2],
            "strengths": [1.0, "own"],
            "recognition": False,
        },
        {**TRAINING, "recognition": True, "mouth": "open", "alpha": 0.5, "split": "val"},
    ],
    "generate": [{"images": 5}, {"images": 5, "size": 32, "labels": ["neutral", "sad"], "color": "gray", "seed": 3}],
    "ingest": [
        {"source": "london"},
        {"source": "my photographs", "size": [64, 48], "rename": {"smiling": "happy", "a": "b"}, "strict": True},
        {"source": "london", "size": 64, "layout": "london", "align": "none", "dtype": "uint16", "seed": 4},
    ],
}


@pytest.mark.parametrize(("verb", "options"), [(verb, each) for verb, all_ in SAID.items() for each in all_])
def test_the_command_of_a_job_submits_the_same(monkeypatch, verb, options):
    sent = []

    class Listening:
        def ask(self, _method, _path, body=None, _headers=None):
            sent.append(body)
            return {"id": "", "state": "queued", "after": []}

    monkeypatch.setattr(jobs, "client_of", lambda *_: Listening())
    program, *words = shlex.split(command_line(verb, "made", options))
    assert program == "mrdist"
    group = click.Group(commands={"submit": jobs.submit})
    group(words, standalone_mode=False)
    assert json.loads(json.dumps(sent)) == [{"verb": verb, "name": "made", "options": options}]


class Fake:
    """A service with these jobs."""

    def __init__(self, *jobs):
        self.jobs = [{"id": each, "name": name} for each, name in jobs]

    def ask(self, _method, _path):
        return {"jobs": self.jobs}


IDS = [f"20261125t09300012345{n}-0f3a9c2{n}" for n in range(3)]


def test_a_job_is_meant_by_its_name_or_the_beginning_of_its_identifier():
    service = Fake((IDS[2], "smile"), (IDS[1], "smile"), (IDS[0], "other"))
    for words, meant in {"smile": IDS[2], "other": IDS[0], IDS[1]: IDS[1], IDS[1][:21]: IDS[1]}.items():
        assert following.Watched.find(service, words).id == meant
    for words, said in {"2026": "the beginning of 3 jobs", "nothing": "there is no job 'nothing'"}.items():
        with pytest.raises(MrdistError, match=said):
            following.Watched.find(service, words)


def test_the_table_of_jobs_fits_eighty_columns(capsys):
    told = {"verb": "generate", "state": "cancelled", "after": [], "scores": None, "blocks": None}
    many = [
        {**told, "id": each, "name": "a-name-of-sixty-three-letters-" * 2, "last_error": "it failed, " * 20}
        for each in IDS
    ]
    following.print_jobs("http://127.0.0.1:8899", many)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(IDS)
    assert max(map(len, lines)) <= 80
