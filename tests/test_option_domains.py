"""What an option may not be is told in one sentence, by every method and verb, from Python, the shell and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from fastapi.testclient import TestClient

import mrdist
from mrdist.errors import ParameterError
from mrdist.methods.registry import METHODS
from mrdist.pipeline.training.check import check_training
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

SIZE = 32
LABELS = {"source": "neutral", "target": "happy"}
NAN, INF = float("nan"), float("inf")
BLOCKS = [
    (0, 16),
    (16, 0),
    (-4, 16),
    (16.0, 16),
    (True, 16),
    (16,),
    (16, 16, 16),
    (),
    16,
    "16,16",
    (None, 16),
    (NAN, 16),
]
NO_WHOLE = (1.5, True, "3", NAN, {}, np.zeros((2, 2)))
NO_NUMBER = ("1", True, None.__class__, {}, np.ones((2, 2)))
BAD = {
    "receptive_field": (0, 2, -3, *NO_WHOLE, [3, 4], [], [1.5], SIZE * 2 + 1),
    "dilation": (0, -1, *NO_WHOLE, [0], [], SIZE),
    "pool": (-1, 129, *NO_WHOLE, [2, -1], [], SIZE * 10),
    "prior": ("one", 1, ["zero"]),
    "alpha": (0, -1, NAN, INF, *NO_NUMBER, [0.1]),
    "penalize_intercept": (1, 0, "no", 0.5),
    "gamma": (0, -1, NAN, INF, *NO_NUMBER),
    "components": (0, -1, 10**9, *NO_WHOLE),
    "alphas": ([], [0], [-1], [NAN], [0.1, 0.1], ["0.1"], "0.1", 0.1, [[0.1]]),
    "folds": (0, 1, -2, 10**6, *NO_WHOLE),
    "rule": ("max", 1, ["min"]),
    "seed": (-1, *NO_WHOLE),
    "window": (0, 2, -3, 10**6 + 1, *NO_WHOLE),
    "max_iterations": (0, -1, 2**63, *NO_WHOLE),
    "nonzeros": (0, -1, 10**6, *NO_WHOLE, [], [3, 3], [0], ["3"], [True], "many"),
    "tolerance": (-1e-9, NAN, INF, *NO_NUMBER),
}
GOOD = {
    "receptive_field": np.int64(1),
    "dilation": np.uint8(1),
    "pool": np.uint8(2),
    "prior": np.str_("identity"),
    "alpha": np.float32(0.5),
    "penalize_intercept": np.True_,
    "gamma": np.float64(0.5),
    "components": np.int32(3),
    "window": np.int64(3),
    "max_iterations": np.int64(7),
    "nonzeros": np.int64(2),
    "tolerance": np.float32(0.25),
}
SEARCH = {"folds": np.int64(2), "seed": np.int64(1), "rule": np.str_("1se")}
OF_ALL = {
    "block": BLOCKS,
    "workers": (-1,),
    "max_memory": (0, -1, "much", "", NAN, INF, None, "9" * 400),
    "color": ("blue", None, 1),
    "split": ("exam", None),
    "dtype": ("int8", np.float16),
}


def few(method):
    """Return what must be given so that ten people are enough."""
    return commands.known(method, components=3, nonzeros=2)


def searching(method, name):
    """Return what else must be given so that an option is read."""
    others = {option: value for option, value in few(method).items() if option != name}
    if name not in ("alphas", "folds", "rule", "seed"):
        return others
    return others | ({"alpha": "cv"} if "alphas" in METHODS[method].options else {"nonzeros": [1, 2]})


CASES = [
    (method, name, value, searching(method, name))
    for method, known in METHODS.items()
    for name in known.options
    for value in BAD[name]
] + [
    (method, name, value, searching(method, name))
    for method in METHODS
    for name, values in OF_ALL.items()
    for value in values
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A small store, its sums, and a service whose catalogue has it."""
    folder = tmp_path_factory.mktemp("options")
    catalog = Catalog.open(str(folder / "catalog"))
    found = SimpleNamespace(images=catalog.url_of("datasets", "people"), sums=str(folder / "sums"))
    mrdist.generate(found.images, images=12, size=SIZE, labels=("neutral", "happy"), color="gray", workers=0)
    mrdist.accumulate(found.images, found.sums, **LABELS, workers=0)
    found.client = TestClient(create_app(catalog, Settings(requests_per_second=1e6)), base_url="http://127.0.0.1")
    return found


def refused(verb, *args, name, value, out, **options):
    """Return the one sentence with which a verb refuses an option, before it has written anything."""
    with pytest.raises(ParameterError) as raised:
        verb(*args, **{"workers": 0, **options, name: value})
    sentence = str(raised.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 400
    assert not Path(out).exists()
    return sentence


def short(value):
    text = repr(value)
    return text if len(text) < 30 else text[:30]


@pytest.mark.parametrize(("method", "name", "value", "more"), CASES, ids=lambda value: short(value))
def test_every_method_refuses_what_an_option_may_not_be(stores, tmp_path, method, name, value, more):
    out = str(tmp_path / "weights.zarr")
    options = {**LABELS, "method": method, **more}
    sentence = refused(mrdist.train, stores.images, out, out=out, name=name, value=value, **options)
    assert name.removesuffix("s") in sentence
    with pytest.raises(ParameterError) as raised:
        check_training(stores.images, **{"workers": 0, **options, name: value})
    assert name.removesuffix("s") in str(raised.value)
    del options["target"]
    refused(mrdist.train_mappings, stores.images, out, out=out, name=name, value=value, **options)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_of_numpy_are_numbers(stores, tmp_path, method):
    options = {name: value for name, value in GOOD.items() if name in METHODS[method].options}
    plain = {name: value.item() for name, value in options.items()}
    work = {**LABELS, "method": method, "workers": 0}
    mrdist.train(stores.images, str(tmp_path / "numpy"), **work, **options, block=np.array([16, 16]))
    mrdist.train(stores.images, str(tmp_path / "plain"), **work, **plain, block=(16, 16))
    assert commands.files(tmp_path / "numpy") == commands.files(tmp_path / "plain")
    again = mrdist.train(stores.images, str(tmp_path / "plain"), **work, **options, block=[np.int64(16)] * 2)
    assert again.already_complete


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if "folds" in method.options])
def test_lists_may_be_arrays(stores, tmp_path, method):
    lists = {"alpha": "cv", "alphas": np.array([0.1, 1], dtype=np.float32)}
    if "alphas" not in METHODS[method].options:
        lists = {"nonzeros": np.array([1, 2])}
    if method == "mr":
        lists["receptive_field"] = np.array([1, 3])
    report = mrdist.train(stores.images, str(tmp_path / "w"), method=method, **LABELS, **lists, **SEARCH, workers=0)
    assert report.cross_validation["chosen"]


@pytest.mark.parametrize("block", BLOCKS, ids=short)
@pytest.mark.parametrize("verb", ["accumulate", "solve", "plan", "estimate"])
def test_every_verb_with_blocks(stores, tmp_path, verb, block):
    out = str(tmp_path / "out.zarr")
    call = {
        "accumulate": (mrdist.accumulate, (stores.images, out), LABELS),
        "solve": (mrdist.solve, (stores.sums, out), {}),
        "plan": (mrdist.plan, (stores.images,), LABELS),
        "estimate": (mrdist.estimate, (), {"pairs": 10, "size": SIZE, "channels": 1}),
    }[verb]
    assert "block must be" in refused(call[0], *call[1], name="block", value=block, out=out, **call[2])


@pytest.mark.parametrize("verb", ["accumulate", "solve", "plan", "estimate"])
@pytest.mark.parametrize(
    "name", ["receptive_field", "dilation", "alpha", "penalize_intercept", "workers", "max_memory"]
)
def test_options_of_the_other_verbs(stores, tmp_path, verb, name):
    if verb == "accumulate" and name in ("alpha", "penalize_intercept"):
        return
    out = str(tmp_path / "out.zarr")
    call = {
        "accumulate": (mrdist.accumulate, (stores.images, out), LABELS),
        "solve": (mrdist.solve, (stores.sums, out), {}),
        "plan": (mrdist.plan, (stores.images,), LABELS),
        "estimate": (mrdist.estimate, (), {"pairs": 10, "size": SIZE, "channels": 1}),
    }[verb]
    values = {**BAD, **OF_ALL}[name]
    for value in values + (("cv",) if verb == "solve" and name == "alpha" else ()):
        assert name in refused(call[0], *call[1], name=name, value=value, out=out, **call[2])


@pytest.mark.parametrize("block", [(20, 20), (16, 1000), (10**12, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_a_block_is_rounded_up_to_chunks_and_no_larger_than_the_image(stores, method, block):
    cost = check_training(stores.images, method=method, **LABELS, block=block, workers=0, **few(method))
    height, width = (min(-(-side // 16) * 16, SIZE) for side in block)
    assert cost.blocks == (SIZE // height) * (SIZE // width)


def in_the_shell(value):
    """Return an option's value as one types it, None where that cannot be."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) if len(value) > 1 and set(map(type, value)) <= {int, float} else None
    return str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None


SHELL = [
    (method, name, value, more)
    for method, name, value, more in CASES
    if name != "penalize_intercept"
    and (name != "max_memory" or isinstance(value, str))  # in the shell it is a text
    and in_the_shell(value) not in (None, "", "3", "1", "0.1", "16,16")
]
ONE_EACH = list({(method, name): (method, name, value, more) for method, name, value, more in SHELL}.values())


def said_in_python(stores, method, name, value, more):
    """Return the sentence of the check that precedes every training."""
    with pytest.raises(ParameterError) as raised:
        check_training(stores.images, **{**LABELS, "method": method, "workers": 0, **more, name: value})
    return str(raised.value)


def shell_fails(stores, tmp_path, method, name, value, more):
    options = [f"--{key.replace('_', '-')}={in_the_shell(each)}" for key, each in {**more, name: value}.items()]
    labels = ("--source", "neutral", "--target", "happy", "--workers=0")
    out = tmp_path / "weights.zarr"
    done = commands.run("train", stores.images, out, "--method", method, *labels, *options)
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    if name == "workers":  # which nothing before a training reads
        return
    assert said_in_python(stores, method, name, value, more) in done.stderr


@pytest.mark.parametrize(("method", "name", "value", "more"), ONE_EACH)
def test_the_shell_says_the_same(stores, tmp_path, method, name, value, more):
    shell_fails(stores, tmp_path, method, name, value, more)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name", "value", "more"), SHELL)
def test_the_shell_says_the_same_of_every_value(stores, tmp_path, method, name, value, more):
    shell_fails(stores, tmp_path, method, name, value, more)


def fit_for_json(value):
    if isinstance(value, list | tuple):
        return all(map(fit_for_json, value))
    return value is None or (isinstance(value, int | float | str | dict) and value == value and abs_of(value) < INF)


def abs_of(value):
    return abs(value) if isinstance(value, int | float) else 0


@pytest.mark.parametrize("path", ["jobs", "plans"])
@pytest.mark.parametrize("method", METHODS)
def test_the_service_says_the_same(stores, path, method):
    """Not queued, and no fault of the service's: whatever the value, the status is 422."""
    for one, name, value, more in CASES:
        if one != method or name == "workers" or value is None or not fit_for_json(value):
            continue
        if value == (16.0, 16):
            continue  # JSON has no whole numbers of its own
        options = {"images": "people", **LABELS, "method": method, **more, name: value}
        asked = {"verb": "train", "options": options, **({"name": "model"} if path == "jobs" else {})}
        answer = stores.client.post(f"/api/v1/{path}", json=asked)
        assert answer.status_code == 422, (options, answer.text)
        if value == 2**63:  # requests have smaller limits
            assert answer.json()["detail"].endswith(".")
            continue
        said = said_in_python(stores, method, name, json.loads(json.dumps(value)), more)
        assert answer.json()["detail"] == said, options
