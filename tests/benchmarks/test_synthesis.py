"""``mrdist synthesize`` of a whole images store: against reading its images and writing as many."""

import numpy as np
import pytest

import mrdist
from benchmarks.stores import BETWEEN, LABELS
from mrdist.geometry import Block
from mrdist.storage import Images, create_images, write_images

pytestmark = pytest.mark.filterwarnings("ignore")


def copy(images: Images, url: str) -> None:
    """Read one label in the runs of the new store and write it as another, in the same chunks."""
    nothing = [""] * len(images.image)
    run, *_ = create_images(
        url,
        labels=[LABELS[1]],
        image=images.image.tolist(),
        subject=nothing,
        dataset=nothing,
        split=nothing,
        shape=images.shape,
        n_channels=images.n_channels,
        overwrite=True,
    )
    reader, chosen = images.reader(), images.rows(LABELS[:1], "all")
    for start, stop, _ in images.slabs(chosen, run):
        pixels = reader.read(LABELS[0], start, stop, Block(0, 0, *images.shape))
        write_images(url, LABELS[1], start, pixels)


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("size", [3, 7])
def test_synthesis_of_a_store_against_read_and_copy(meter, faces_store, tmp_path, size):
    url, weights, made = faces_store(256, 512), str(tmp_path / "w.zarr"), str(tmp_path / "made.zarr")
    mrdist.train(url, weights, **BETWEEN, receptive_field=size, workers=0)
    images = Images.open(url)

    def ours():
        mrdist.synthesize(weights, url, made, workers=0, overwrite=True)

    def theirs():
        copy(images, str(tmp_path / "copy.zarr"))

    ours()
    seconds = meter.time(ours, {"copy": theirs}, rounds=3)
    row = mrdist.open_images(url)["neutral"][3:4].values
    wanted = np.rint(mrdist.open_weights(weights).predict(row).clip(0, 1) * 255)
    np.testing.assert_array_equal(mrdist.open_images(made)["happy"][3:4].values, wanted)
    meter.tell(f"synthesize 256 x 512 x 512 x 3, r={size}", seconds["ours"], seconds["copy"], "read and write")
