from __future__ import annotations

import mrdist


def test_every_method_can_be_compared_and_reported(tmp_path):
    url, out = str(tmp_path / "faces.zarr"), tmp_path / "out"
    mrdist.generate(url, images=40, size=32, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    methods = ["mr", "pixel", "l2", "kernel", "pca", "l1", "l0", "mean", "identity"]
    found = mrdist.compare(
        url, source="neutral", target="happy", methods=methods, out=str(out), workers=0, progress=False
    )
    assert [row["method"] for row in found["methods"]] == methods
    ratio = {row["method"]: row["relative_mse"] for row in found["methods"]}
    assert ratio["mr"] < 1 == ratio["identity"] < ratio["mean"]
    alphas = {row["method"]: row["alpha"] for row in found["methods"]}
    assert all(alphas[method] > 0 for method in ("mr", "pixel", "l2", "kernel", "l1"))
    assert mrdist.report(str(out), str(tmp_path / "report.html"), people=1)
    page = (tmp_path / "report.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in ("mr 3x3", *methods[1:]))
