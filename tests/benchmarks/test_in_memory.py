"""Images in memory, on one core: sums, solves, fit and predict."""

import numpy as np
import pytest

import mrdist
from benchmarks import rivals
from mrdist.geometry import ReceptiveField
from mrdist.moments import SufficientStatistics
from mrdist.solvers import solve
from mrdist.synthesis import MaskedWeights

ALPHA = 0.4

pytestmark = [pytest.mark.usefixtures("one_core"), pytest.mark.filterwarnings("ignore")]


def stacked(coef, intercept):
    return np.moveaxis(np.concatenate([coef, intercept[None]]), 0, -1)


@pytest.mark.parametrize("n_channels", [1, 3], ids=["gray", "rgb"])
@pytest.mark.parametrize("n_images", [16, 64, 256])
@pytest.mark.parametrize("size", [3, 7])
def test_accumulation_against_sgemm(meter, size, n_images, n_channels):
    field = ReceptiveField(size)
    shape = (128, 128)
    rng = np.random.default_rng(0)
    window = rng.integers(0, 256, (256, *(s + field.reach for s in shape), n_channels), dtype=np.uint8)
    target = rng.integers(0, 256, (256, *shape, n_channels), dtype=np.uint8)
    statistics = SufficientStatistics.zeros(field, shape, n_groups=1, unit=255).update(window, target)
    middle = window[:, field.halo :, field.halo :][:, : shape[0], : shape[1]].astype(np.int64)
    assert np.array_equal(statistics.cross[0, field.n_offsets // 2], (middle * target).sum(axis=(0, 3)))

    def sums():  # slabs follow one another, as they come from a store
        for n in range(0, 256, n_images):
            statistics.update(window[n : n + n_images], target[n : n + n_images])

    a, b, c = rng.random((3, 1024, 1024), dtype=np.float32)
    np.matmul(a, b, out=c)
    seconds = meter.time(sums, {"sgemm": lambda: np.matmul(a, b, out=c)}, rounds=15)
    products = (field.n_lags + field.n_offsets + 3) * target.size
    meter.tell(
        f"sums, r={size}, {n_images} images, {'rgb' if n_channels == 3 else 'gray'}",
        products / seconds["ours"],
        1024**3 / seconds["sgemm"],
        "sgemm",
        unit="MAC/s",
        target=">= 0.40",
    )


@pytest.mark.parametrize("size", [3, 5, 7])
def test_batched_solve_against_numpy(meter, faces, size):
    source, target = (np.ascontiguousarray(images[:, 32:96, 32:96]) for images in faces(60))
    field, shape = ReceptiveField(size), source.shape[1:]
    window = np.pad(source, ((0, 0), (field.halo, field.halo), (field.halo, field.halo)))[..., None]
    statistics = SufficientStatistics.zeros(field, shape, n_groups=1, unit=255).update(window, target[..., None])
    gram, rhs = rivals.normal_equations(source, target, size, ALPHA)
    found = solve(statistics, ALPHA)
    expected = np.linalg.solve(gram, rhs)[..., 0]
    np.testing.assert_allclose(stacked(found.coef[0], found.intercept[0]), expected, atol=1e-6)

    seconds = meter.time(lambda: solve(statistics, ALPHA), {"numpy": lambda: np.linalg.solve(gram, rhs)})
    n_pixels = shape[0] * shape[1]
    meter.tell(
        f"solve a pixel, {size**2 + 1} unknowns, assembly and error included",
        seconds["ours"] / n_pixels,
        seconds["numpy"] / n_pixels,
        "np.linalg.solve",
        target="<= 0.50",
    )


def test_fit_against_what_a_user_would_write(meter, faces):
    source, target = faces(200)
    model = mrdist.MaskedRegression(receptive_field=3, alpha=ALPHA).fit(source, target)
    ours = stacked(model.coef_, model.intercept_)
    whole = {
        "NumPy einsum": (rivals.numpy_einsum, ">= 25 x"),
        "NumPy matmul": (rivals.numpy_matmul, ""),
        "PyTorch": (rivals.pytorch, ""),
        "BrainIAK searchlight": (rivals.brainiak_searchlight, ">= 50 x"),
    }
    pixels = np.random.default_rng(0).choice(ours.shape[0] * ours.shape[1], 128, replace=False)
    x, t = (a.reshape(-1, *a.shape[2:])[pixels] for a in (rivals.design(source, 3), rivals.targets(target)))
    single = {"Ridge": (rivals.sklearn_ridge, ">= 1000 x"), "himalaya": (rivals.himalaya_ridge, "")}

    calls = {name: lambda fit=fit: fit(source, target, 3, ALPHA) for name, (fit, _) in whole.items()}
    calls |= {name: lambda fit=fit: fit(x, t, ALPHA) for name, (fit, _) in single.items()}
    for name in list(calls):
        try:
            found = calls[name]()
        except pytest.skip.Exception as missing:
            meter.tell(f"fit, skipped: {missing}", None, against=name)
            del calls[name]
            continue
        expected = ours if name in whole else ours.reshape(-1, ours.shape[-1])[pixels]
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)

    seconds = meter.time(lambda: model.fit(source, target), calls, rounds=5)
    meter.tell("fit, 200 pairs of 128 x 128, r=3", seconds["ours"], target="the talk: 10 ms")
    for name in calls:
        target_ratio = (whole | single)[name][1]
        scale = 1 if name in whole else ours[..., 0].size / len(pixels)
        how = name if name in whole else f"{name}, {len(pixels)} pixels scaled"
        meter.tell("fit", seconds["ours"], seconds[name] * scale, how, speedup=True, target=target_ratio)


def test_predict_of_one_image(meter, faces):
    source, target = faces(60)
    model = mrdist.MaskedRegression(receptive_field=3).fit(source, target)
    image = source[:1]
    matrix, vector = model.to_scipy(), np.append(image.ravel() / 255, 1.0)
    np.testing.assert_allclose(model.predict(image).ravel(), matrix @ vector, atol=1e-6)

    def warm(call):  # twenty in a row: what the other reads would push the weights out of the cache
        return lambda: [call() for _ in range(20)]

    seconds = meter.time(warm(lambda: model.predict(image)), {"csr": warm(lambda: matrix @ vector)}, rounds=30)
    meter.tell("predict one image", seconds["ours"] / 20, seconds["csr"] / 20, "csr product", target="<= 60 us")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("color", ["gray", "shared", "separate"])
def test_predict_of_a_batch(meter, faces, color, dtype):
    source, target = (images if color == "gray" else np.stack([images] * 3, axis=-1) for images in faces(60))
    model = mrdist.MaskedRegression(receptive_field=3, color="shared" if color == "gray" else color)
    model.fit(source, target)
    weights = MaskedWeights(
        ReceptiveField(3),
        model.color,
        source[..., None].shape[3],
        model.coef_.astype(dtype),
        model.intercept_.astype(dtype),
    )
    batch = np.resize(source, (256, *source.shape[1:]))
    out = weights.predict(batch)
    into = np.empty_like(out)
    np.testing.assert_array_equal(out[0], weights.predict(batch[:1])[0])

    seconds = meter.time(lambda: weights.predict(batch), {"copy": lambda: np.copyto(into, out)})
    per_pixel = {name: value / out.size for name, value in seconds.items()}
    what = f"predict a value, batch of 256, {color}, {dtype}"
    meter.tell(what, per_pixel["ours"], per_pixel["copy"], "copy", target="<= 4")
