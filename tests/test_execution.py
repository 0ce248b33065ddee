"""What a task's failure becomes, on real workers."""

import os
import signal
from functools import partial

import pytest

from mrdist.errors import DataError, ExecutionError
from mrdist.execution import open_executor


def fail(error, _item):
    raise error


def die(_item):
    os.kill(os.getpid(), signal.SIGKILL)


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


def test_an_item_that_kills_every_worker_is_named(executor):
    with pytest.raises(ExecutionError, match="every worker that tried block 7 was killed"):
        list(executor.run(die, [7], name="look", describe="block {}".format))
