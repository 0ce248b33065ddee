"""Every public function takes paths, NumPy's numbers and arrays wherever it takes addresses, numbers and lists."""

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mrdist
from mrdist.arguments import plain
from mrdist.errors import ParameterError
from mrdist.pipeline.judging.learning_curve import learning_curve
from mrdist.pipeline.showing import plot, plot_alignment
from mrdist.storage import describe

LABELS = np.array(["neutral", "happy"])
PAIR = {"source": np.str_("neutral"), "target": np.str_("happy")}
HERE = {"workers": np.int64(0), "progress": np.bool_(False)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder of tiny stores, all of them made of Path, NumPy's numbers and arrays."""
    folder = tmp_path_factory.mktemp("arguments")
    images, size = folder / "images.zarr", np.int16(32)
    mrdist.generate(
        images, images=np.int64(14), size=size, labels=LABELS, seed=np.uint8(1), chunks=np.array([8, 16, 16]), **HERE
    )
    mrdist.accumulate(
        images, folder / "sums.zarr", receptive_field=np.int64(3), dilation=np.int32(1), block=np.array([16, 16]),
        **PAIR, **HERE,
    )  # fmt: skip
    mrdist.train(
        images, folder / "weights.zarr", receptive_field=np.int64(3), dilation=np.int8(1), alpha=np.float32(0.5),
        block=[np.int64(16), np.int64(32)], max_memory=np.int64(2 << 30), **PAIR, **HERE,
    )  # fmt: skip
    return folder


# Every public function and what it is called with, given the folder of stores and one for outputs.
CALLS = {
    "accumulate": lambda s, out: mrdist.accumulate(
        s / "images.zarr", out / "a", receptive_field=np.int8(1), **PAIR, **HERE
    ).to_dict(),
    "check_images": lambda s, _: mrdist.check_images(s / "images.zarr"),
    "compare": lambda s, out: mrdist.compare(
        s / "images.zarr",
        methods=np.array(["mr", "identity"]),
        receptive_fields=np.array([1, 3]),
        dilations=pd.Series([1]),
        alpha=np.float64(1),
        out=out / "c",
        **PAIR,
        **HERE,
    ),
    "create_images": lambda _, out: mrdist.create_images(
        out / "n",
        labels=LABELS,
        image=np.arange(3).astype(str),
        subject=pd.Series(list("abc")),
        dataset=np.array(["d"] * 3),
        split=np.array(["train"] * 3),
        shape=np.array([8, 8]),
        n_channels=np.int64(1),
        chunks=np.array([3, 8, 8]),
    ),
    "estimate": lambda *_: mrdist.estimate(
        pairs=np.int64(10),
        size=np.int64(32),
        channels=np.int64(1),
        receptive_field=np.array([1, 3]),
        alpha="cv",
        alphas=np.array([0.1, 1.0]),
        folds=np.int64(2),
        seed=np.int64(0),
        block=np.array([16, 32]),
        chunks=np.array([8, 16, 16]),
        price_per_hour=np.float64(1),
        workers=np.int64(1),
    ).to_dict(),
    "evaluate": lambda s, _: mrdist.evaluate(
        s / "weights.zarr", s / "images.zarr", splits=np.array(["test"]), on=s / "images.zarr", workers=np.int64(0)
    ),
    "export": lambda s, out: mrdist.export(s / "weights.zarr", out / "e"),
    "finish_images": lambda _, out: (
        mrdist.create_images(out / "f", labels=LABELS[:1], image=np.array(["a"]), shape=(8, 8), n_channels=1),
        mrdist.write_images(out / "f", LABELS[0], np.int64(0), np.ones((1, 8, 8, 1), np.uint8)),
        mrdist.finish_images(out / "f", present=[[True]]),
    )[2],
    "generate": lambda _, out: mrdist.generate(
        out / "g", images=np.int64(1), size=np.int64(32), labels=pd.Index(LABELS), **HERE
    ),
    "info": lambda s, _: mrdist.info(s / "weights.zarr"),
    "open_images": lambda s, _: mrdist.open_images(s / "images.zarr").attrs,
    "open_statistics": lambda s, _: mrdist.open_statistics(s / "sums.zarr").attrs,
    "open_weights": lambda s, _: dict(mrdist.open_weights(s / "weights.zarr").attributes),
    "plan": lambda s, _: (
        mrdist.plan(
            s / "images.zarr",
            alpha="cv",
            alphas=np.logspace(-2, 0, 3),
            folds=np.int64(2),
            seed=np.int64(3),
            receptive_field=np.array([1, 3]),
            block=np.array([16, 32]),
            workers=np.int64(0),
            **PAIR,
        ).n_blocks
    ),
    "link": lambda s, out: mrdist.link(
        out / "l",
        {np.str_("low"): s / "images.zarr" / "neutral", "high": s / "images.zarr" / "happy"},
        ranges={"low": np.array([0, 255])},
        scale=np.int64(1),
        **HERE,
    ).to_dict(),
    "rechunk": lambda s, out: mrdist.rechunk(
        s / "images.zarr", out / "r", chunks=np.array([4, 32, 32]), **HERE
    ).to_dict(),
    "refine": lambda s, out: mrdist.refine(
        _copy(s / "weights.zarr", out / "w"), mrdist.Refinement(radius=np.float32(0.1), low=np.int64(1))
    ).to_dict(),
    "report": lambda s, out: mrdist.report(
        [s / "weights.zarr"], out / "r.html", images=s / "images.zarr", people=np.int64(1)
    ),
    "sizes": lambda *_: len(mrdist.sizes(np.int64(128), receptive_field=np.int64(3))),
    "solve": lambda s, out: mrdist.solve(
        s / "sums.zarr",
        out / "s",
        alpha=np.float64(0.1),
        receptive_field=np.int64(1),
        dilation=np.int64(1),
        block=np.array([16, 32]),
        **HERE,
    ).to_dict(),
    "synthesize": lambda s, out: mrdist.synthesize(s / "weights.zarr", s / "images.zarr", out / "y", **HERE).to_dict(),
    "train": lambda s, out: mrdist.train(
        s / "images.zarr",
        out / "t",
        alpha="cv",
        alphas=np.array([0.1, 1]),
        folds=np.int64(2),
        seed=np.int64(1),
        receptive_field=pd.Series([1, 3]),
        dilation=(np.int64(1),),
        **PAIR,
        **HERE,
    ).to_dict(),
    "train_mappings": lambda s, out: mrdist.train_mappings(
        s / "images.zarr",
        out / "m",
        source=LABELS[0],
        receptive_field=np.int64(1),
        alpha=np.float32(1),
        block=np.array([16, 32]),
        **HERE,
    ).to_dict(),
    "write_images": None,  # with finish_images
    "save": lambda _, out: mrdist.save(_fitted(), out / "saved", **PAIR),
    "plot_faces": lambda s, out: plot.plot_faces(
        s / "weights.zarr", s / "images.zarr", out / "f.png", count=np.int64(1)
    ),
    "plot_intercept": lambda s, out: plot.plot_intercept(s / "weights.zarr", out / "i.png"),
    "plot_mask": lambda _, out: plot.plot_mask(out / "m.png", size=np.int64(3), receptive_field=np.int64(3)),
    "plot_receptive_fields": lambda s, out: plot.plot_receptive_fields(
        s / "weights.zarr", out / "r.png", pixels=np.array([[3, 4]])
    ),
    "plot_refinement": lambda s, out: plot.plot_refinement(
        s / "weights.zarr", s / "images.zarr", out / "p.png", radii=np.array([0.1]), smoothings=np.array([0.05])
    ),
    "ingest": lambda _, out: mrdist.ingest(
        [_photographs(out / "photographs")],
        out / "g",
        layout=np.array(["folders"]),
        align="none",
        size=np.int64(32),
        color="gray",
        seed=np.int64(1),
        chunks=np.array([2, 16, 16]),
        **HERE,
    ).to_dict(),
    "plot_cv": lambda s, out: (
        mrdist.train(s / "images.zarr", out / "t", alpha="cv", folds=2, **PAIR, **HERE),
        plot.plot_cv(out / "t", out / "cv.png"),
    )[1],
    "plot_learning_curve": lambda s, out: plot.plot_learning_curve(
        s / "images.zarr", out / "l.png", pairs=np.array([4, 8]), alpha=np.float64(1), workers=np.int64(0), **PAIR
    ),
    "learning_curve": lambda s, _: learning_curve(
        s / "images.zarr",
        pairs=np.array([4, 8]),
        receptive_fields=np.array([1, 3]),
        alpha=np.float64(1),
        workers=np.int64(0),
        **PAIR,
    ),
}
# Too long for here; what they take is looked at below, as of all others.
NOT_CALLED = {"demo", "plot_alignment"}
FUNCTIONS = {
    **{name: getattr(mrdist, name) for name in mrdist.__all__ if inspect.isfunction(getattr(mrdist, name))},
    **{name: getattr(plot, name) for name in vars(plot) if name.startswith("plot_")},
    "plot_alignment": plot_alignment.plot_alignment,
    "learning_curve": learning_curve,
}


def _copy(store, place):
    import shutil

    return Path(shutil.copytree(store, place))


def _fitted():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    return mrdist.MaskedRegression(receptive_field=np.int64(3), alpha=np.float32(1)).fit(pixels, 255 - pixels)


def _photographs(folder):
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(np.full((32, 32), 20 * n + 9, np.uint8)).save(folder / label / f"p{n}.png")
    return folder


def test_every_function_is_called():
    assert set(FUNCTIONS) == set(CALLS) | NOT_CALLED


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in {"compare", "report"} else [])
        for name, call in CALLS.items()
        if call is not None
    ],
)
def test_paths_numbers_and_arrays_are_taken(name, stores, tmp_path):
    """And what comes back, and what is kept in stores, is fit for JSON."""
    json.dumps(CALLS[name](stores, tmp_path))
    for store in tmp_path.rglob("zarr.json"):
        json.loads(store.read_text())


def test_arguments_of_numpy_make_the_same_store(stores, tmp_path):
    plainly = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}
    mrdist.train(str(stores / "images.zarr"), str(tmp_path / "w"), alpha=0.5, block=(16, 32), **plainly)
    assert describe(str(tmp_path / "w"))["training"] == describe(str(stores / "weights.zarr"))["training"]
    assert mrdist.train(stores / "images.zarr", stores / "weights.zarr", alpha=0.5, **plainly).already_complete


def _parameters(kind):
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            annotation = str(parameter.annotation)
            if kind in annotation.split(" | ") and set(annotation.split(" | ")) <= {kind, "None"}:
                yield name, parameter.name


@pytest.mark.parametrize(
    ("kind", "wrong", "must"),
    [
        ("Address", 7, "must be a path or a URL, got 7"),
        ("Address", "", "must be a path or a URL, got ''"),
        ("Address", {"url": "x"}, "must be a path or a URL"),
        ("int", 2.5, "must be a whole number, got 2.5"),
        ("int", "3", "must be a whole number, got '3'"),
        ("int", np.array([3, 4]), r"must be a whole number, got \(3, 4\)"),
        ("float", "much", "must be a number, got 'much'"),
        ("float", True, "must be a number, got True"),
        ("Sequence[str]", 5, "must be a list of names, got 5"),
        ("Sequence[str]", "test", "must be a list of names, got 'test'"),
        ("Sequence[int]", 3, "must be a list of whole numbers, got 3"),
        ("Sequence[int]", ["3"], "must be a whole number, got '3'"),
        ("Sequence[float]", 0.5, "must be a list of numbers, got 0.5"),
        ("StorageOptions", "secret", "must be a dictionary, got str"),
    ],
)
def test_wrong_types_are_told_by_every_function(kind, wrong, must):
    chosen = list(_parameters(kind))
    assert chosen
    for name, parameter in chosen:
        function = FUNCTIONS[name]
        needed = {
            other.name: ["x"] if "Sequence" in str(other.annotation) else "x"
            for other in inspect.signature(function).parameters.values()
            if other.default is other.empty
            and other.kind is not other.VAR_KEYWORD
            and "int" not in str(other.annotation)
        }
        numbers = {
            other.name: 1
            for other in inspect.signature(function).parameters.values()
            if other.default is other.empty and str(other.annotation) == "int"
        }
        with pytest.raises(ParameterError, match=f"^{parameter} {must}"):
            function(**{**needed, **numbers, parameter: wrong})


def test_no_public_function_takes_a_string_where_it_means_an_address():
    """An address that is annotated as text would be one that refuses a path."""
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name.endswith("url") or parameter.name in {"out", "urls", "inputs", "src", "on", "reference"}:
                assert "Address" in str(parameter.annotation), f"{name}({parameter.name})"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Path("/a/b"), "/a/b"),
        (np.float64(0.5), 0.5),
        (np.array(3), 3),
        (np.array([[1, 2]]), ([1, 2],)),
        (pd.Series(["a", "b"]), ("a", "b")),
        ([np.int64(1), Path("c")], [1, "c"]),
        ((np.bool_(True), None), (True, None)),
        ("text", "text"),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_plain_values(value, wanted):
    found = plain(value)
    assert found == wanted
    assert type(found) is type(wanted)
    json.dumps(found)


def test_a_field_and_a_refinement_keep_plain_numbers():
    assert type(mrdist.ReceptiveField(np.int64(3)).size) is int
    assert type(mrdist.Refinement(radius=np.float32(0.5)).radius) is float
    with pytest.raises(ParameterError, match="size must be a whole number"):
        mrdist.ReceptiveField(2.5)
