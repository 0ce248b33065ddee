"""Every command reads from and writes to object storage, with few requests: over HTTP to a local S3 server (moto)."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import boto3
import commands
import faulty_s3
import numpy as np
import pytest
import zarr
from PIL import Image

import mrdist
from mrdist.errors import DamagedChunkError, MissingChunkError
from mrdist.geometry import Block
from mrdist.methods.registry import METHODS
from mrdist.storage import Images
from mrdist.storage.access.remote import CONNECTIONS

FACES = ("--size", 32, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
PAIR = ("--source", "neutral", "--target", "happy", "--split", "all")

ACCUMULATE = ("accumulate", "s3://all/images.zarr", "s3://all/sums.zarr", *PAIR, "--workers", 0)
COMPARE = (
    *("compare", "s3://all/images.zarr", *PAIR[:4], "--methods", "mean,identity"),
    *("--out", "s3://all/cmp", "--workers", 0),
)
MADE_BY = {"s3://all/sums.zarr": ACCUMULATE, "s3://all/cmp": COMPARE}


def few(method):
    """Return the options of a method that make its training short."""
    return [f"--{name}={value}" for name, value in commands.known(method, components=4, window=3, nonzeros=2).items()]


@pytest.fixture(scope="module")
def s3():
    """A server with two images stores, a photograph and weights."""
    with faulty_s3.serve("all") as server:
        for name, n in (("images", 12), ("more", 16)):
            commands.succeed("generate", f"s3://all/{name}.zarr", "--images", n, *FACES)
        commands.succeed("train", "s3://all/images.zarr", "s3://all/mr.zarr", *PAIR, "--workers", 0)
        picture = io.BytesIO()
        Image.fromarray(np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)).save(picture, "png")
        for label in ("neutral", "happy"):
            for person in "abc":
                boto3.client("s3").put_object(Bucket="all", Key=f"people/{label}/{person}.png", Body=picture.getvalue())
        yield server


def there(name):
    """Whether there is something below a name."""
    return "Contents" in boto3.client("s3").list_objects_v2(Bucket="all", Prefix=name, MaxKeys=1)


@pytest.mark.parametrize(
    ("command", "made"),
    [
        (("ingest", "s3://all/people", "s3://all/in.zarr", "--align", "none", "--workers", 0), "in.zarr/zarr.json"),
        (("plan", "s3://all/images.zarr", *PAIR[:4]), None),
        (("rechunk", "s3://all/images.zarr", "s3://all/re.zarr", "--chunks", "4,16,16", "--workers", 0), "re.zarr/"),
        *(
            pytest.param(
                ("train", "s3://all/more.zarr", f"s3://all/{m}.zarr", "--method", m, *few(m), *PAIR, "--workers", 0),
                f"{m}.zarr/zarr.json",
                marks=() if m in ("l2", "l0") else pytest.mark.slow,
            )
            for m in METHODS
            if m != "mr"
        ),
        pytest.param(
            ("train", "s3://all/images.zarr", "s3://all/cv.zarr", "--alpha", "cv", *PAIR, "--workers", 0),
            "cv.zarr/cv/",
            marks=pytest.mark.slow,
        ),
        (
            (
                "train",
                "s3://all/images.zarr",
                "s3://all/group",
                "--source",
                "neutral",
                "--mappings",
                "all",
                "--workers",
                0,
            ),
            "group/happy-neutral/zarr.json",
        ),
        (ACCUMULATE, "sums.zarr/"),
        (("solve", "s3://all/sums.zarr", "s3://all/solved.zarr", "--workers", 0), "solved.zarr/"),
        (("refine", "s3://all/mr.zarr"), "mr.zarr/importance/"),
        (
            ("synthesize", "s3://all/mr.zarr", "s3://all/images.zarr", "--out", "s3://all/new.zarr", "--workers", 0),
            "new.zarr/",
        ),
        (("synthesize", "s3://all/mr.zarr", "s3://all/people/neutral/*.png", "--out", "s3://all/made"), "made/a.png"),
        (("evaluate", "s3://all/mr.zarr", "s3://all/images.zarr", "--split", "test"), None),
        (COMPARE, "cmp/compare.png"),
        (("report", "s3://all/cmp", "s3://all/mr.zarr", "--out", "s3://all/report.html"), "report.html"),
        (("plot", "faces", "s3://all/mr.zarr", "s3://all/images.zarr", "--out", "s3://all/p/faces.png"), "p/faces.png"),
        (("export", "s3://all/mr.zarr", "s3://all/csr.zarr"), "csr.zarr/"),
        (("export", "s3://all/mr.zarr", "s3://all/csr", "--format", "npz"), "csr.npz"),
        (("info", "s3://all/mr.zarr"), None),
    ],
    ids=lambda value: "-".join(map(str, value[:1])) if isinstance(value, tuple) else "",
)
def test_a_command_reads_and_writes_object_storage(s3, command, made):
    for url, earlier in MADE_BY.items():  # which may be another process's test
        if url in command and earlier != command and not there(url.removeprefix("s3://all/")):
            commands.succeed(*earlier)
    found = commands.report(*command)
    assert found
    assert made is None or there(made)


def test_options_reach_the_workers_where_the_environment_names_nothing(s3, tmp_path, monkeypatch):
    options = {"key": "a", "secret": "b", **s3.options}
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    pair = {"source": "neutral", "target": "happy", "split": "all", "workers": 1}
    mrdist.train("s3://all/images.zarr", str(tmp_path / "w.zarr"), storage_options=options, **pair)
    ours, theirs = mrdist.open_weights(str(tmp_path / "w.zarr")), mrdist.open_weights("s3://all/mr.zarr", options)
    np.testing.assert_array_equal(ours.coef, theirs.coef)


def test_a_profile_names_the_endpoint_and_the_keys(s3, tmp_path):
    (tmp_path / "config").write_text(
        f"[profile here]\nendpoint_url = {s3.options['endpoint_url']}\nregion = us-east-1\n"
    )
    (tmp_path / "credentials").write_text("[here]\naws_access_key_id = a\naws_secret_access_key = b\n")
    environment = {
        "AWS_PROFILE": "here",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    found = commands.warm("info", "s3://all/mr.zarr", "--json", env=environment)
    assert json.loads(found.stdout)["complete"] is True
    client = boto3.client("s3")
    for each in client.list_objects_v2(Bucket="all", Prefix="images.zarr/")["Contents"]:
        client.put_object_acl(Bucket="all", Key=each["Key"], ACL="public-read")
    assert mrdist.open_images("s3://all/images.zarr", {"anon": True, **s3.options}).sizes["image"] == 12


def test_a_training_asks_for_each_needed_chunk_once(s3):
    commands.succeed("generate", "s3://all/many.zarr", "--images", 60, *FACES, "--chunks", "6,16,16")
    s3.requests.clear()
    commands.succeed("train", "s3://all/many.zarr", "s3://all/many-weights.zarr", *PAIR, "--workers", 0)
    read = [path for method, path in s3.requests if method == "GET" and path.startswith("/all/many.zarr/")]
    chunks = [path for path in read if "/neutral/c/" in path or "/happy/c/" in path]
    needed = 2 * 10 * 2 * 2
    assert len(chunks) == len(set(chunks)) == needed
    assert len(read) <= 1.3 * needed
    assert not [path for method, path in s3.requests if method == "HEAD" and "/c/" in path]


@pytest.mark.slow
def test_requests_under_way_never_pass_the_bound(s3, monkeypatch):
    commands.succeed("rechunk", "s3://all/images.zarr", "s3://all/fine.zarr", "--chunks", "1,8,8", "--workers", 0)
    images = Images.open("s3://all/fine.zarr", s3.options)
    s3.busiest, s3.seconds = 0, 0.2
    try:
        with zarr.config.set({"async.concurrency": 200}), ThreadPoolExecutor(4) as pool:
            read = lambda label: images.reader().read(label, 0, 12, Block(0, 0, 32, 32))  # noqa: E731
            list(pool.map(read, ("neutral", "happy")))
    finally:
        s3.seconds = 0.0
    assert CONNECTIONS // 2 < s3.busiest <= CONNECTIONS


def test_a_chunk_that_is_damaged_or_missing_is_told_by_name(s3):
    commands.succeed("generate", "s3://all/broken.zarr", "--images", 6, *FACES)
    client, key = boto3.client("s3"), "broken.zarr/happy/c/0/0/0/0"
    content = client.get_object(Bucket="all", Key=key)["Body"].read()
    client.put_object(Bucket="all", Key=key, Body=content[:20] + bytes([content[20] ^ 1]) + content[21:])
    reader = Images.open("s3://all/broken.zarr", s3.options).reader()
    s3.requests.clear()
    with pytest.raises(DamagedChunkError, match=r"chunk happy/c/0/0/0/0 of s3://all/broken.zarr is damaged"):
        reader.read("happy", 0, 6, Block(0, 0, 32, 32))
    assert len(s3.requests) == 5  # read so often before it is believed
    client.delete_object(Bucket="all", Key=key)
    with pytest.raises(MissingChunkError, match=r"chunk happy/c/0/0/0/0 is missing from s3://all/broken.zarr"):
        reader.read("happy", 0, 6, Block(0, 0, 32, 32))
