"""Downloads have a length and go on where they broke off; pictures are known by what they show."""

from __future__ import annotations

import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import commands
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mrdist
from mrdist.pipeline.showing.pack import pack, packed_length
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.ranges import cut

MODEL = "/api/v1/models/smile/download"
KINDS = ("zip", "csr")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    catalog = Catalog.open(str(tmp_path_factory.mktemp("ranges") / "catalog"))
    images = catalog.url_of("datasets", "faces")
    work = {"workers": 0, "progress": False}
    mrdist.generate(images, images=12, size=32, labels=["neutral", "happy"], **work)
    mrdist.train(images, catalog.url_of("models", "smile"), source="neutral", target="happy", **work)
    client = TestClient(create_app(catalog), base_url="http://127.0.0.1")
    client.catalog = catalog
    client.whole = {kind: client.get(f"{MODEL}?format={kind}") for kind in KINDS}
    return client


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_says_how_long_it_is(client, kind):
    whole = client.whole[kind]
    assert (whole.status_code, int(whole.headers["content-length"])) == (200, len(whole.content))
    assert whole.headers["accept-ranges"] == "bytes"
    head = client.head(f"{MODEL}?format={kind}")
    assert (head.headers["content-length"], head.content) == (whole.headers["content-length"], b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("asked", "part"), [("0-0", slice(0, 1)), ("700-", slice(700, None)), ("-9", slice(-9, None))])
def test_a_part_of_it_is_that_part(client, kind, asked, part):
    whole = client.whole[kind].content
    answer = client.get(f"{MODEL}?format={kind}", headers={"range": f"bytes={asked}"})
    assert (answer.status_code, answer.content) == (206, whole[part])
    start, stop, _ = part.indices(len(whole))
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert int(answer.headers["content-length"]) == stop - start


def test_who_goes_on_gets_the_same_version_or_all(client):
    whole = client.whole["zip"]
    headers = {"range": "bytes=500-", "if-range": whole.headers["etag"]}
    assert whole.content[:500] + client.get(MODEL, headers=headers).content == whole.content
    answer = client.get(MODEL, headers={**headers, "if-range": '"another"'})
    assert (answer.status_code, answer.content) == (200, whole.content)
    for several in ("bytes=0-1,5-6", "lines=1-2", "bytes=-"):
        assert client.get(MODEL, headers={"range": several}).content == whole.content
    end = len(whole.content)
    for none in (f"bytes={end}-", f"bytes={end + 5}-{end + 9}", "bytes=-0", "bytes=9-3"):
        answer = client.get(MODEL, headers={"range": none})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{end}")


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b/c", "ä/日本", "d" * 90]), st.binary(max_size=3000), min_size=1))
def test_the_length_is_known_before_anything_is_packed(tmp_path, files):
    place = tmp_path / str(abs(hash(tuple(sorted(files)))) + sum(map(len, files.values())))
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    packed = b"".join(pack(str(place), "stäre"))
    assert packed_length(str(place), "stäre") == len(packed)
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize(("largest", "most"), [(700, 9), (1200, 2), (150, 1), (0, 0)])
def test_the_length_is_known_of_what_needs_64_bits(tmp_path, monkeypatch, largest, most):
    """The limits of 32 bits are lowered, for the zip as well."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", largest)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", most)
    for name, size in (("a", 100), ("b", 1000), ("c", 0), ("d", 300)):
        (tmp_path / name).write_bytes(bytes(size))
    packed = b"".join(pack(str(tmp_path), "large"))
    assert packed_length(str(tmp_path), "large") == len(packed)
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        assert [each.file_size for each in archive.infolist()] == [100, 1000, 0, 300]


@pytest.mark.slow
def test_a_model_of_gigabytes_has_a_length_and_ranges(client):
    catalog, size = client.catalog, (4 << 30) + 5  # of a file with a hole, before the others
    model = Path(catalog.url_of("models", "smile"))
    large = shutil.copytree(model, model.with_name("large.zarr"))
    with (large / "0-hole").open("wb") as stream:
        stream.truncate(size)
    path = MODEL.replace("smile", "large")
    length = int(client.head(path).headers["content-length"])
    assert length > size
    early = client.get(path, headers={"range": "bytes=0-99"})
    assert (early.status_code, early.headers["content-range"]) == (206, f"bytes 0-99/{length}")
    end = client.get(path, headers={"range": f"bytes={size}-"})
    assert (end.status_code, len(end.content)) == (206, length - size)
    with zipfile.ZipFile(_Rest(end.content, size)) as archive:  # finds its directory, and the files behind the hole
        names = {each.filename: each.file_size for each in archive.infolist()}
        assert names.pop("large.zarr/0-hole") == size
        assert {name: len(archive.read(name)) for name in names} == names
    shutil.rmtree(large)


class _Rest(BytesIO):
    """The end of a file, whose beginning is not there."""

    def __init__(self, content, missing):
        super().__init__(content)
        self.missing = missing

    def seek(self, offset, whence=0):
        return super().seek(offset - (0 if whence else self.missing), whence) + self.missing

    def tell(self):
        return super().tell() + self.missing


@given(st.lists(st.binary(max_size=5), max_size=6), st.integers(0, 20), st.integers(0, 20))
def test_a_cut_is_a_slice(pieces, start, stop):
    assert b"".join(cut(iter(pieces), start, stop)) == b"".join(pieces)[start:stop]


def test_a_picture_is_the_same_as_long_as_it_shows_the_same(client):
    catalog, pixels = client.catalog, np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), np.uint8)
    path = "/api/v1/datasets/growing/rows/2/neutral.png"
    marks = []
    for number in (4, 6):
        url = catalog.url_of("datasets", "growing")
        if number == 6:
            catalog.remove("datasets", "growing")
        commands.write_store(url, {"neutral": pixels[:number], "happy": pixels[:number]})
        marks.append(client.get(path).headers["etag"])
    assert marks[0] == marks[1]
    assert client.get(path, headers={"if-none-match": marks[0]}).status_code == 304
    assert client.get(path.replace("/2/", "/3/")).headers["etag"] != marks[0]
    assert client.get(f"{path}?size=8").headers["etag"] != marks[0]


def test_every_file_in_the_description_is_bytes(client):
    described = client.get("/openapi.json").json()
    binary = {"type": "string", "format": "binary"}
    files = {
        (path, kind): content["schema"]
        for path, operations in described["paths"].items()
        for operation in operations.values()
        for answer in operation["responses"].values()
        for kind, content in answer.get("content", {}).items()
        if kind.startswith("image/") or kind in ("application/zip", "application/octet-stream")
    }
    assert len(files) >= 9
    assert set(map(str, files.values())) == {str(binary)}
