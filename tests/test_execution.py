"""What becomes of tasks on real workers: those that fail, those that kill, those whose workers come late or go."""

import contextlib
import io
import json
import logging
from functools import partial
from itertools import islice

import clusters
import pytest
from tasks import die, die_at, fail, mark, who

from mrdist.errors import DataError, ExecutionError
from mrdist.events import written_to
from mrdist.execution import _window, open_executor


@pytest.fixture(scope="module")
def executor():
    with open_executor(workers=1, n_tasks=1, max_memory=10**9) as executor:
        yield executor


def test_an_error_of_ours_arrives_as_it_is(executor):
    with pytest.raises(DataError, match="too dark"):
        list(executor.run(partial(fail, DataError("too dark")), [1], name="look"))


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), TimeoutError("no answer"), KeyError("y")])
def test_another_error_names_the_item_and_never_the_scheduler(executor, error):
    with pytest.raises(ExecutionError, match=rf"block 7 failed with {type(error).__name__}") as caught:
        list(executor.run(partial(fail, error), [7], name="look", describe="block {}".format))
    assert "scheduler" not in str(caught.value)


def test_an_error_of_the_system_names_the_item_without_workers_too():
    with (
        open_executor(workers=0, n_tasks=1, max_memory=10**9) as executor,
        pytest.raises(ExecutionError, match="block 7 failed with OSError"),
    ):
        list(
            executor.run(partial(fail, OSError(5, "Input/output error")), [7], name="look", describe="block {}".format)
        )


def test_an_item_that_kills_every_worker_is_named_and_the_others_are_done(executor):
    """Its neighbours die with it as often as it does, since there is one worker; they are not blamed."""
    done = []
    with pytest.raises(ExecutionError, match=r"every worker that tried block 2 was killed; all others are done"):
        done.extend(
            item for item, _ in executor.run(partial(die_at, {2}), range(9), name="look", describe="block {}".format)
        )
    assert sorted(done) == [0, 1, 3, 4, 5, 6, 7, 8]


@pytest.mark.slow
def test_items_that_all_kill_are_not_all_tried(executor, monkeypatch):
    monkeypatch.setattr(_window, "_HOPELESS", 2)
    with pytest.raises(ExecutionError, match=r"every worker that tried block \d+, block \d+ was killed; most blocks"):
        list(executor.run(die, range(50), name="look", describe="block {}".format))


# --- workers that come and go --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with clusters.scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


@pytest.mark.slow
def test_workers_may_come_late_and_find_themselves_warmed_up(scheduler, monkeypatch, caplog):
    monkeypatch.setattr(_window, "_PATIENT_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "mrdist")
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(open_executor(scheduler=scheduler, n_tasks=9, max_memory=10**9, prepare=mark))

        class Start(logging.Handler):
            def emit(self, record):
                if record.getMessage().startswith("waiting for workers"):
                    stack.enter_context(clusters.worker(scheduler))

        stack.callback(logging.getLogger("mrdist").removeHandler, start := Start())
        logging.getLogger("mrdist").addHandler(start)
        seen = set()
        for number, (_, found) in enumerate(executor.run(who, range(10**6), 0.02, name="look")):
            seen.add(found)
            if number == 0:
                stack.enter_context(clusters.worker(scheduler))
            if len(seen) == 2:
                break
        assert {warm for _, warm in seen} == {"yes"}
    said = [record.getMessage() for record in caplog.records if record.name == "mrdist"]
    assert [line for line in said if "workers" in line][1:] == ["the scheduler has workers again"]


def test_no_worker_comes(scheduler, monkeypatch):
    monkeypatch.setattr(_window, "WORKER_SECONDS", 1)
    with (
        open_executor(scheduler=scheduler, n_tasks=9, max_memory=10**9) as executor,
        pytest.raises(ExecutionError, match=rf"the scheduler at {scheduler} has had no worker for \d s; start some"),
    ):
        list(executor.run(abs, range(9), name="look"))


@pytest.mark.slow
def test_all_workers_go(scheduler, monkeypatch):
    monkeypatch.setattr(_window, "WORKER_SECONDS", 1)
    with (
        clusters.worker(scheduler) as worker,
        clusters.at_work(scheduler, 1),
        open_executor(scheduler=scheduler, n_tasks=9, max_memory=10**9) as executor,
    ):
        results = executor.run(abs, range(10**6), name="look")
        next(results)
        worker.kill()
        with pytest.raises(ExecutionError, match=r"has had no worker for \d s.* what is finished is kept"):
            list(results)


@pytest.mark.slow
def test_a_worker_with_other_packages_joins_late(scheduler, tmp_path):
    with open_executor(scheduler=scheduler, n_tasks=9, max_memory=10**9) as executor:
        results = executor.run(abs, range(9), name="look")
        with (
            clusters.worker(scheduler, env=clusters.other_packages(tmp_path, "zarr")),
            pytest.raises(ExecutionError, match=r"worker .* has zarr 2.0.0 and not .*; install the same packages"),
        ):
            list(results)


@pytest.mark.slow
def test_events(scheduler):
    stream = io.StringIO()
    with (
        written_to(stream),
        clusters.worker(scheduler) as worker,
        clusters.at_work(scheduler, 1),
        open_executor(scheduler=scheduler, n_tasks=9, max_memory=10**9) as executor,
    ):
        results = executor.run(who, range(10**6), 0.02, name="look", describe="block {}".format)
        next(results)
        worker.kill()
        with clusters.worker(scheduler):
            # the driver may hear that blocks are tried again after it has heard of the second worker
            seen = (stream.getvalue() for _ in results)
            assert any(told.count("worker-joined") == 2 and '"retry"' in told for told in islice(seen, 5000))
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [each["event"] for each in found if each["event"].startswith("worker-")] == [
        "worker-joined",
        "worker-lost",
        "worker-joined",
    ]
    again = [each["what"] for each in found if each["event"] == "retry"]
    assert 1 <= len(again) <= 6  # of a thousand handed over, few wait in a worker
    assert all(what.startswith("block ") for what in again)
