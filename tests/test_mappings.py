"""All mappings at once: the bytes of single trainings, whatever is shared, left out, cut or killed."""

from __future__ import annotations

import bisect
import contextlib
import shutil

import commands
import numpy as np
import pytest
import zarr
from PIL import Image

import mrdist
from mrdist.geometry import ReceptiveField
from mrdist.planning import BASE_MEMORY, KERNEL_MEMORY, Workload, plan_training
from mrdist.storage import Images
from mrdist.synthesis import to_pixels

LABELS = ("neutral", "happy", "sad", "angry")
SERIAL = ("--workers", "0")
ALL = ("--source", "neutral", "--mappings", "all", *SERIAL)
FORTH = [f"neutral-{label}" for label in LABELS[1:]]
NAMES = [*FORTH, *(f"{label}-neutral" for label in LABELS[1:])]
SHAPE = (40, 48)


@pytest.fixture(scope="module")
def images(tmp_path_factory, draw_images):
    """A store in which the same people are happy and sad, and others are angry."""
    rng = np.random.default_rng(5)
    pixels = {label: draw_images((24, *SHAPE, 3), seed=seed) for seed, label in enumerate(LABELS)}
    present = np.ones((24, len(LABELS)), dtype=bool)
    present[3, 1:3] = False
    present[17, 3] = False
    split = rng.permutation(["train"] * 18 + ["val"] * 2 + ["test"] * 4).tolist()
    return commands.write_store(
        tmp_path_factory.mktemp("mappings") / "images.zarr", pixels, present=present, split=split
    )


@pytest.fixture(scope="module")
def singles(images, tmp_path_factory):
    """Every mapping trained alone, by name."""
    folder = tmp_path_factory.mktemp("singles")
    for name in NAMES:
        source, target = name.split("-")
        options = {"receptive_field": 5, "dilation": 2, "alpha": 0.3, "workers": 0}
        mrdist.train(images, str(folder / name), source=source, target=target, **options)
    return folder


FIELD = ("--receptive-field", "5", "--dilation", "2", "--alpha", "0.3")


def check_group(group, singles, names=NAMES):
    assert [path.name for path in sorted(group.iterdir())] == sorted([*names, "zarr.json"])
    for name in names:
        commands.assert_equal_bytes(group / name, singles / name)
        ours, theirs = (commands.attributes(folder / name) for folder in (group, singles))
        assert ours == theirs


@pytest.mark.parametrize("block", [(), ("--block", "16,32")])
def test_both_ways_have_the_bytes_of_single_trainings(images, singles, tmp_path, block):
    group = tmp_path / "group"
    report = commands.report("train", images, group, *ALL, *FIELD, *block)
    check_group(group, singles)
    grids = 6 if block else 1
    assert (report["blocks"], report["blocks_run"]) == (2 * grids, 2 * grids)  # two sets of people
    assert (report["already_complete"], report["left_out"]) == (False, [])
    found = {name: mapping["scores"] for name, mapping in report["mappings"].items()}
    assert found == {name: commands.attributes(singles / name)["scores"]["train"] for name in NAMES}
    for score in ("mse", "r2"):
        assert report["scores"][score] == pytest.approx(np.mean([scores[score] for scores in found.values()]))
    if not block:
        pixels = 24 * SHAPE[0] * SHAPE[1] * 3
        assert report["bytes_read"] == (3 + 2) * pixels  # every label once for each set of people

    again = commands.report("train", images, group, *ALL, *FIELD)
    assert (again["already_complete"], again["blocks_run"], again["mappings"]) == (True, 0, report["mappings"])


def test_from_the_source_to_all(images, singles, tmp_path):
    done = commands.succeed(
        "train", images, tmp_path / "group", "--source", "neutral", "--target", "all", *FIELD, *SERIAL
    )
    check_group(tmp_path / "group", singles, FORTH)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[-5:-1]] == [*FORTH, "mean"]
    assert "2 of 2 blocks" in lines[-1]


@pytest.mark.parametrize("options", [{"color": "separate"}, {"penalize_intercept": False, "dtype": "float64"}])
def test_options_and_floats(small_images_store, tmp_path, options):
    images = small_images_store(dtype=np.float32, labels=LABELS[:3]).url
    report = mrdist.train_mappings(
        images, str(tmp_path / "group"), source="happy", both_ways=True, workers=0, **options
    )
    assert list(report.scores) == ["happy-neutral", "happy-sad", "neutral-happy", "sad-happy"]
    for name in report.scores:
        source, target = name.split("-")
        mrdist.train(images, str(tmp_path / name), source=source, target=target, workers=0, **options)
        commands.assert_equal_bytes(tmp_path / "group" / name, tmp_path / name)


def test_what_does_not_fit_into_memory_together_is_trained_apart(images, singles, tmp_path):
    options = {"receptive_field": 5, "dilation": 2, "alpha": 0.3, "block": (16, 16)}
    store, field = Images.open(images), ReceptiveField(5, 2)
    work = Workload(SHAPE, 3, 1, store.chunks, store.n_images, 17, field, 1, 4, 16)

    def fits(max_memory):
        with contextlib.suppress(mrdist.errors.MemoryLimitError):
            return bool(plan_training(work, max_memory=max_memory, n_slots=1, block=(16, 16)))
        return False

    base = BASE_MEMORY + KERNEL_MEMORY
    least = bisect.bisect_left(range(base + (1 << 24)), 1, lo=base, key=fits)
    options |= {"source": "neutral", "both_ways": True, "workers": 0}
    report = mrdist.train_mappings(images, str(tmp_path / "group"), **options, max_memory=least)
    assert report.blocks == len(NAMES) * 9  # and not 2 * 9, for two sets of people
    check_group(tmp_path / "group", singles)
    with pytest.raises(mrdist.errors.MemoryLimitError):
        mrdist.train_mappings(images, str(tmp_path / "none"), **options, max_memory=BASE_MEMORY)
    assert not (tmp_path / "none").exists()


def test_killed_and_resumed(images, singles, tmp_path):
    group = tmp_path / "group"
    command = ("train", images, group, *ALL, *FIELD, "--block", "16,16")
    counted = lambda: sum(commands.blocks_done(group / name) for name in NAMES)  # noqa: E731
    commands.killed(*command, at=("/progress/done/c/", 8))
    assert counted() == 8
    found = commands.report("info", group)
    assert (found["kind"], found["complete"], list(found["mappings"])) == ("mappings", False, NAMES)
    assert sum(mapping.get("blocks_done", 0) for mapping in found["mappings"].values()) == counted()
    assert found["training"]["receptive_field"] == 5
    assert "not complete" in commands.failure("evaluate", group, images)

    shutil.rmtree(group / "angry-neutral")  # as if it had never been begun
    report = commands.report("train", images, group, *ALL, *FIELD)
    assert 0 < report["blocks_run"] < 18
    check_group(group, singles)
    found = commands.report("info", group)
    assert found["complete"]
    assert found["mappings"] == {name: {"complete": True} for name in NAMES}


def test_workers(images, singles, two_workers, tmp_path):
    options = ("--source", "neutral", "--mappings", "all", *FIELD, "--block", "16,32", "--scheduler", two_workers)
    report = commands.report("train", images, tmp_path / "group", *options)
    assert report["blocks_run"] >= 2
    check_group(tmp_path / "group", singles)


def test_labels_without_pairs_are_left_out_and_told(images, tmp_path):
    copy = shutil.copytree(images, tmp_path / "images.zarr")
    present = zarr.open_group(str(copy), mode="r+", use_consolidated=False)["present"]
    present[:, 3] = False
    done = commands.succeed("train", copy, tmp_path / "group", *ALL)
    assert [line for line in done.stderr.splitlines() if "left out" in line] == [
        f"left out {name}: no image of split 'train' has both labels" for name in ("neutral-angry", "angry-neutral")
    ]
    report = commands.report("train", copy, tmp_path / "group", *ALL)
    assert report["left_out"] == ["neutral-angry", "angry-neutral"]
    assert len(report["mappings"]) == 4
    assert "no image of split 'train' with angry and another label" in commands.failure(
        "train", copy, tmp_path / "none", "--source", "angry", "--target", "all", *SERIAL
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "options", [{"method": "mean"}, {"alpha": "cv", "alphas": [1.0, 10.0], "folds": 3}], ids=["mean", "cv"]
)
def test_methods_without_sums_to_share_and_chosen_penalties(images, tmp_path, options):
    work = {"source": "neutral", "workers": 0, "progress": False}
    report = mrdist.train_mappings(images, str(tmp_path / "group"), **work, **options)
    assert list(report.scores) == FORTH
    for name in FORTH:
        mrdist.train(images, str(tmp_path / name), target=name.split("-")[1], **work, **options)
        commands.assert_equal_bytes(tmp_path / "group" / name, tmp_path / name)
    again = mrdist.train_mappings(images, str(tmp_path / "group"), **work, **options)
    assert (again.already_complete, again.scores) == (True, report.scores)


@pytest.fixture(scope="module")
def group(images, tmp_path_factory):
    """A finished group: do not change it."""
    folder = tmp_path_factory.mktemp("group") / "group"
    commands.succeed("train", images, folder, *ALL, *FIELD)
    return folder


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--source", "glad", "--target", "all"), "no label 'glad'"),
        (("--source", "neutral", "--mappings", "all", "--receptive-field", "4"), "odd"),
        (("--source", "neutral", "--mappings", "all", "--alpha", "0"), "alpha must be"),
        (("--source", "neutral", "--mappings", "all", "--split", "some"), "split must be one of"),
        (
            ("--source", "neutral", "--target", "all", "--method", "mean", "--alpha", "1"),
            "has no option alpha",
        ),
        (("--source", "neutral", "--target", "all", "--folds", "3"), "folds (3) is an option of cross-validation"),
        (("--source", "neutral", "--target", "all", "--alpha", "cv", "--folds", "99"), "folds is 99"),
    ],
)
def test_bad_options(images, tmp_path, options, sentence):
    assert sentence in commands.failure("train", images, tmp_path / "group", *options, *SERIAL)
    assert not (tmp_path / "group").exists()


def test_bad_usage(images, tmp_path):
    for options in (("--source", "neutral"), ("--source", "neutral", "--target", "happy", "--mappings", "all")):
        said = commands.failure("train", images, tmp_path / "group", *options, code=2)
        assert "give either --target (a label or all) or --mappings" in said


def test_a_group_is_not_overwritten_by_another(images, group, singles, tmp_path):
    before = commands.files(group)
    for options, difference in (
        ((*ALL, *FIELD[:4], "--alpha", "0.5"), "neutral-happy holds the output of another training (alpha is 0.3"),
        (("--source", "neutral", "--target", "all", *FIELD, *SERIAL), "happy-neutral is trained there and not here"),
        (("--source", "neutral", "--target", "happy", *SERIAL), "already holds mappings"),
    ):
        assert difference in commands.failure("train", images, group, *options)
    assert commands.files(group) == before
    taken = shutil.copytree(singles / "neutral-happy", tmp_path / "taken")
    assert "already holds weights" in commands.failure("train", images, taken, *ALL)
    assert "would overwrite its input" in commands.failure("train", images, f"{images}/group", *ALL)
    commands.succeed("train", images, taken, *ALL, *FIELD, "--overwrite")
    check_group(taken, singles)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--alpha", "cv", "--folds", "400"), "folds is 400"),
        (("--alpha", "cv", "--receptive-field", "3,99"), "spans 99 pixels"),
        (("--receptive-field", "99"), "spans 99 pixels"),
        (("--max-memory", "1MiB"), "max_memory"),
        (("--method", "mean", "--max-memory", "1MiB"), "max_memory"),
        (("--method", "l2", "--alpha", "cv", "--folds", "400"), "folds is 400"),
        (("--method", "l2", "--alpha", "-1"), "alpha must be"),
        (("--method", "pca", "--components", "900"), "components"),
        (("--method", "l1", "--alpha", "cv", "--folds", "400"), "folds is 400"),
        (("--method", "l1", "--window", "4"), "window must be"),
        (("--method", "l0", "--nonzeros", "5000"), "nonzeros"),
    ],
)
def test_bad_options_overwrite_nothing(images, group, options, sentence):
    before = commands.files(group), commands.attributes(group)
    assert sentence in commands.failure("train", images, group, *ALL, *options, "--overwrite")
    assert (commands.files(group), commands.attributes(group)) == before


def test_all_cannot_be_a_label(tmp_path):
    said = commands.failure("generate", tmp_path / "i.zarr", "--images", "4", "--labels", "neutral,all", *SERIAL)
    assert "all" in said
    with pytest.raises(mrdist.errors.ParameterError, match="'all' cannot be a label"):
        commands.write_store(tmp_path / "j.zarr", {"all": np.zeros((2, 8, 8, 1), np.uint8)})
    assert not (tmp_path / "j.zarr").exists()


def test_scores_of_a_group_are_those_of_its_mappings_and_their_means(group, images):
    report = commands.report("evaluate", group, images)
    assert list(report["mappings"]) == NAMES
    for name in ("neutral-sad", "angry-neutral"):
        alone = commands.report("evaluate", group / name, images)
        assert report["mappings"][name] == alone
    for split in ("train", "val", "test"):
        for region in ("frame", "face"):
            found = [mapping["splits"][split][region] for mapping in report["mappings"].values()]
            means = report["splits"][split][region]
            assert means["intercept_share"] == pytest.approx(np.mean([each["intercept_share"] for each in found]))
            for mapping in ("model", "identity"):
                for score, value in means[mapping].items():
                    assert value == pytest.approx(np.mean([each[mapping][score] for each in found])), score
    done = commands.succeed("evaluate", group, images, "--split", "test")
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words == 2 * ["test,", "mapping", *NAMES, "mean", "mean"]


def test_a_group_makes_a_folder_or_a_store_for_each_mapping(group, images, tmp_path):
    picture = str(tmp_path / "face.png")
    face = mrdist.open_images(images)["neutral"].values[0]
    Image.fromarray(face).save(picture)
    out = tmp_path / "out"
    report = commands.report("synthesize", group, picture, "--out", out)
    assert list(report["mappings"]) == NAMES
    for name in NAMES:
        commands.succeed("synthesize", group / name, picture, "--out", tmp_path / name)
        assert report["mappings"][name]["written"] == {picture: str(out / name / "face.png")}
        assert (out / name / "face.png").read_bytes() == (tmp_path / name / "face.png").read_bytes()

    done = commands.succeed("synthesize", group, images, "--out", tmp_path / "stores", *SERIAL)
    assert len(done.stdout.splitlines()) == len(NAMES)
    made = mrdist.open_images(str(tmp_path / "stores" / "happy-neutral"))
    assert made.label.values.tolist() == ["neutral"]
    model = mrdist.open_weights(str(group / "happy-neutral"))
    wanted = to_pixels(model.predict(mrdist.open_images(images)["happy"].values[:2]), np.uint8)
    assert np.array_equal(made["neutral"].values[:2], wanted)


def test_weights_are_not_read_from_a_group(group):
    assert "is a store of mappings, not of weights" in commands.failure("export", group, "out.npz")
