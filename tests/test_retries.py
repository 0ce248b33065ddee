"""What passes is waited for, what is permanent is told at once: over real HTTP, with a server that fails on purpose."""

from __future__ import annotations

import errno
import os

import commands
import faulty_s3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

import mrdist
from mrdist.errors import StoreError
from mrdist.storage.access import retries
from mrdist.storage.access.retries import Waits, may_pass


def answer(status, code):
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError(errno.EIO, code)
    error.__cause__ = ClientError(response, "GetObject")
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        *((answer(status, str(status)), True) for status in (408, 429, 500, 502, 503, 504)),
        (answer(503, "SlowDown"), True),
        (answer(200, "InternalError"), True),
        *((answer(status, code), False) for status, code in ((400, "InvalidArgument"), (403, "AccessDenied"))),
        (answer(404, "NoSuchKey"), False),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(errno.EBUSY, "busy"), True),
        (NoCredentialsError(), False),
        (PermissionError(errno.EACCES, "no"), False),
        (FileNotFoundError(), False),
        (OSError(errno.ENOSPC, "full"), False),
        (ValueError("a bug"), False),
    ],
    ids=repr,
)
def test_what_may_pass(error, passes):
    assert may_pass(error) is passes


@pytest.mark.parametrize(("answered", "seconds"), [(True, 180), (False, 10)])
def test_waits_grow_and_end_with_the_error_itself(answered, seconds, monkeypatch):
    monkeypatch.setattr(retries, "_answered", answered)
    now, waits, error = [0.0], [], ConnectionResetError()
    patience = Waits(clock=lambda: now[0])
    with pytest.raises(ConnectionResetError) as raised:  # noqa: PT012 (the loop ends by it)
        while True:
            waits.append(patience.after(error))
            now[0] += waits[-1]
    assert raised.value is error
    assert seconds - 10 <= now[0] <= seconds
    assert max(waits) <= 10
    assert all(0.05 * 2**k <= wait <= 0.1 * 2**k for k, wait in enumerate(waits[:6]))
    with pytest.raises(PermissionError):
        Waits(clock=lambda: 0.0).after(PermissionError())


@pytest.fixture(scope="module")
def s3():
    with faulty_s3.serve("faulty") as faults:
        yield faults


PAIR = ("--source", "neutral", "--target", "happy")
FIRST_CONTACT = {"mrdist.storage.access.retries._FIRST_CONTACT_SECONDS": 1.0}


@pytest.fixture(scope="module")
def stores(s3, tmp_path_factory):
    """The same images on disk and in the bucket, and the weights of those on disk."""
    folder = tmp_path_factory.mktemp("retries")
    faces = ("--images", 12, "--size", 48, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
    commands.succeed("generate", folder / "images.zarr", *faces)
    commands.succeed("train", folder / "images.zarr", folder / "weights.zarr", *PAIR, "--workers", 0)
    commands.succeed("generate", "s3://faulty/images.zarr", *faces)
    return folder


def assert_trained(url, s3, folder):
    found, wanted = mrdist.open_weights(url, s3.options), mrdist.open_weights(str(folder / "weights.zarr"))
    for name in ("coef", "intercept"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes()


@pytest.mark.slow
def test_a_training_through_errors_and_truncated_bodies(s3, stores):
    before = dict(s3.spoiled)
    s3.share = 0.1
    try:
        done = commands.cold(
            "train", "s3://faulty/images.zarr", "s3://faulty/w.zarr", *PAIR, "--block", "16,16", "--workers", 2
        )
    finally:
        s3.share = 0.0
    assert done.returncode == 0, done.stderr
    assert all(s3.spoiled[kind] > before[kind] for kind in before)
    assert_trained("s3://faulty/w.zarr", s3, stores)


@pytest.mark.slow
def test_a_training_through_an_outage(s3, stores):
    with commands.running("train", "s3://faulty/images.zarr", "s3://faulty/out.zarr", *PAIR, "--workers", 1) as process:
        s3.outage = 8
        _, stderr = process.communicate(timeout=commands.SECONDS)
    assert process.returncode == 0, stderr
    assert s3.outage == 0
    assert_trained("s3://faulty/out.zarr", s3, stores)


def test_an_endpoint_that_never_answered_is_one_sentence_within_seconds():
    environment = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "a"}
    options = {"env": environment | {"AWS_SECRET_ACCESS_KEY": "b"}, "constants": FIRST_CONTACT}
    sentence = commands.failure("info", "s3://faulty/w.zarr", **options)
    assert "s3://faulty/w.zarr" in sentence
    assert "cannot be reached or used: no server answers there (Could not connect to the endpoint" in sentence


def test_permanent_errors_are_one_sentence(s3, monkeypatch):
    assert "there is no bucket no-such-bucket (s3://no-such-bucket/w.zarr)" in commands.failure(
        "info", "s3://no-such-bucket/w.zarr"
    )
    assert "Protocol not known" in commands.failure("info", "nope://bucket/w.zarr")
    monkeypatch.setattr(retries, "_answered", False)
    monkeypatch.setattr(retries, "_FIRST_CONTACT_SECONDS", 0.5)
    options = {"endpoint_url": "http://127.0.0.1:1"}
    with pytest.raises(StoreError, match=r"s3://faulty/w.zarr cannot be reached .*no server answers"):
        mrdist.open_weights("s3://faulty/w.zarr", options)
