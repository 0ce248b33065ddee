"""Who is refused an explanation is sent to mappings that have it, whatever methods there are."""

from __future__ import annotations

import commands
import pytest

import mrdist
from mrdist.errors import ParameterError
from mrdist.methods.registry import METHODS
from mrdist.pipeline.showing.explain import coefficients_picture, weights_at
from mrdist.pipeline.showing.opened import OpenedMapping
from mrdist.pipeline.showing.plot import plot_receptive_fields
from mrdist.storage.weights.sparse import SparseModel
from mrdist.synthesis import MaskedWeights

EXPLANATIONS = {  # how, of which mappings, and their name in the refusal
    "weights of a pixel": (
        lambda mapping, _: weights_at(mapping, 3, 4),
        (MaskedWeights, SparseModel),
        "masked regression or learned sparsity",
    ),
    "weights of all pixels": (lambda mapping, _: coefficients_picture(mapping), MaskedWeights, "masked regression"),
    "receptive fields": (
        lambda mapping, out: plot_receptive_fields(mapping.reader.url, out),
        MaskedWeights,
        "masked regression",
    ),
}


@pytest.fixture(scope="module", params=METHODS)
def mapping(request, draw_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explaining")
    pixels = {label: draw_images((12, 8, 8, 1), seed=seed) for seed, label in enumerate("ab")}
    images = commands.write_store(folder / "images.zarr", pixels)
    mrdist.train(images, folder / "w.zarr", source="a", target="b", method=request.param, workers=0)
    return OpenedMapping.open(str(folder / "w.zarr"))


@pytest.mark.parametrize("explanation", EXPLANATIONS)
def test_an_explanation_or_where_to_find_one(explanation, mapping, tmp_path):
    explain, having, name = EXPLANATIONS[explanation]
    if isinstance(mapping.model, having):
        assert explain(mapping, tmp_path / "it.png")
        return
    with pytest.raises(ParameterError, match=rf"method {mapping.model.method}, .* choose a mapping of {name}\."):
        explain(mapping, tmp_path / "it.png")
    assert not any(tmp_path.iterdir())
