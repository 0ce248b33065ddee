"""Small records beside the stores: whole or not there, and one winner among writers at once."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import faulty_s3
import pytest

from mrdist.errors import StoreError
from mrdist.storage.access.records import create_record, list_records, read_record, remove_record, write_record


@pytest.fixture(scope="module")
def s3():
    with faulty_s3.serve("records") as faults:
        yield faults


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request, tmp_path):
    """A folder that does not exist yet, and the options of its filesystem."""
    if request.param == "s3":
        return f"s3://records/{uuid.uuid4()}", request.getfixturevalue("s3").options
    return (str(tmp_path / "not" / "yet") if request.param == "disk" else f"memory://{uuid.uuid4()}"), None


def test_a_record_is_written_read_and_removed(place):
    folder, options = place
    url = f"{folder}/one.run"
    assert read_record(url, options) is None
    assert list_records(folder, options) == []
    remove_record(url, options)
    write_record(url, {"who": "a", "blocks": 3}, options)
    assert read_record(url, options) == {"who": "a", "blocks": 3}
    write_record(url, {"who": "b", "ü": None}, options)
    assert read_record(url, options) == {"who": "b", "ü": None}
    write_record(f"{folder}/below/two.run", {}, options)
    write_record(f"{folder}/a.run", {}, options)
    assert list_records(folder, options) == ["a.run", "one.run"]
    remove_record(url, options)
    assert read_record(url, options) is None
    assert list_records(folder, options) == ["a.run"]


def test_only_one_of_many_creates_a_record(place):
    folder, options = place
    url = f"{folder}/one.run"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: create_record(url, {"who": n}, options), range(8)))
    assert won.count(True) == 1
    assert read_record(url, options) == {"who": won.index(True)}
    assert list_records(folder, options) == ["one.run"]
    assert create_record(url, {"who": 9}, options) is False
    remove_record(url, options)
    assert create_record(url, {"who": 9}, options) is True


def test_a_record_that_is_there_unseen_is_not_overwritten(s3, monkeypatch):
    """The condition of the put decides, not the look before it."""
    url = f"s3://records/{uuid.uuid4()}.run"
    write_record(url, {"who": "first"}, s3.options)
    looks = iter([None, {"who": "first"}])
    monkeypatch.setattr("mrdist.storage.access.records.read_record", lambda _url, _options: next(looks))
    assert create_record(url, {"who": "second"}, s3.options) is False
    monkeypatch.undo()
    assert list(looks) == []
    assert read_record(url, s3.options) == {"who": "first"}


def test_records_through_errors_of_the_store(s3):
    folder = f"s3://records/{uuid.uuid4()}"
    before = sum(s3.spoiled.values())
    s3.share = 0.2
    try:
        for n in range(4):
            assert create_record(f"{folder}/{n}", {"n": n}, s3.options)
            write_record(f"{folder}/{n}", {"n": -n}, s3.options)
        assert [read_record(f"{folder}/{n}", s3.options) for n in range(4)] == [{"n": -n} for n in range(4)]
        assert list_records(folder, s3.options) == [str(n) for n in range(4)]
    finally:
        s3.share = 0.0
    assert sum(s3.spoiled.values()) > before


@pytest.mark.parametrize("content", ["", "[1]", '{"who": '])
def test_what_is_no_record_is_one_sentence(content, tmp_path):
    path = tmp_path / "one.run"
    path.write_text(content)
    with pytest.raises(StoreError, match=f"{path} is not a record of mrdist, which is one JSON object"):
        read_record(str(path))


def test_a_record_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (write_record, create_record):
        with pytest.raises(StoreError, match=f"{tmp_path}/file/one.run cannot be read or written"):
            write(str(tmp_path / "file" / "one.run"), {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_record_on_s3_is_one_object_of_json(s3):
    url = f"s3://records/{uuid.uuid4()}.run"
    write_record(url, {"who": "me"}, s3.options)
    found = boto3.client("s3", endpoint_url=s3.options["endpoint_url"]).get_object(
        Bucket="records", Key=url.removeprefix("s3://records/")
    )
    assert json.loads(found["Body"].read()) == {"who": "me"}
