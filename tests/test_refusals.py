"""An object store that refuses is one sentence that says what is wrong and what to do, at once and before any work."""

from __future__ import annotations

import os
import re
import ssl
import time

import commands
import faulty_s3
import pytest
import trustme
from PIL import Image

import mrdist
from mrdist.errors import StoreError
from mrdist.storage.access import retries


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with faulty_s3.serve("refusing") as faults:
        faces = ("--images", 6, "--size", 16, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
        commands.succeed("generate", IMAGES, *faces)
        yield faults


@pytest.fixture(autouse=True)
def _well_again(request):
    yield
    if "s3" in request.fixturenames:
        faults = request.getfixturevalue("s3")
        faults.refusal, faults.silent = None, False
        faults.refused = faulty_s3.Faults.refused


IMAGES = "s3://refusing/images.zarr"
PAIR = ("--source", "neutral", "--target", "happy", "--split", "all", "--workers", 0)


@pytest.mark.parametrize(
    ("status", "code", "wrong", "advice"),
    [
        (403, "InvalidAccessKeyId", "the store does not know the access key", "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "the secret key does not match the access key", "AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "the session token has expired", "sign in again"),
        (400, "InvalidToken", "the session token is not valid", "check the credentials"),
        (403, "RequestTimeTooSkewed", "this machine's clock differs too much", "set this clock"),
        (301, "PermanentRedirect", "the bucket is in another region", "AWS_DEFAULT_REGION"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region", "AWS_DEFAULT_REGION"),
        (403, "AccessDenied", "access is denied", "ask for the permission"),
        (404, "NoSuchBucket", "there is no bucket refusing", "make it"),
    ],
)
def test_what_the_server_refuses(s3, status, code, wrong, advice):
    s3.refusal = (status, code, {"x-amz-bucket-region": "eu-west-3"} if status == 301 else {})
    s3.requests.clear()
    sentence = commands.failure("info", IMAGES)
    assert IMAGES in sentence
    assert wrong in sentence
    assert advice in sentence
    assert len(s3.requests) <= 6  # at once: nothing is asked again and again


@pytest.mark.parametrize(
    ("environment", "wrong", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials are set", "AWS_PROFILE"),
        ({"AWS_PROFILE": "nobody"}, "profile (nobody) could not be found", "AWS_CONFIG_FILE"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9"}, "Invalid endpoint: 127.0.0.1:9", "check the address, the endpoint"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "no server answers there", "AWS_ENDPOINT_URL"),
    ],
    ids=["credentials", "profile", "endpoint", "nothing"],
)
def test_what_never_reaches_a_server(s3, environment, wrong, advice):
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **environment}
    began = time.monotonic()
    sentence = commands.failure(
        "info", IMAGES, env=environment, constants={"mrdist.storage.access.retries._FIRST_CONTACT_SECONDS": 1.0}
    )
    assert IMAGES in sentence
    assert wrong in sentence
    assert advice in sentence
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "no server answers there"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9", "Invalid endpoint"),
        ("AWS_PROFILE", "nobody", "profile (nobody) could not be found"),
    ],
)
def test_what_is_set_after_a_refusal_counts_in_the_same_process(s3, monkeypatch, name, wrong, sentence):
    monkeypatch.setattr("mrdist.storage.access.retries._FIRST_CONTACT_SECONDS", 1.0)
    with monkeypatch.context() as environment:
        environment.setenv(name, wrong)
        with pytest.raises(StoreError, match=re.escape(sentence)):
            mrdist.open_images(IMAGES)
    assert mrdist.open_images(IMAGES).sizes["image"] == 6


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "nope://bucket/a.zarr",
            "cannot be opened (Protocol not known: nope); use a path or a URL that fsspec supports.",
        ),
        ("s3://key:secret@bucket/a.zarr", "has a key in the address"),
        ("s3://Not_a bucket/a.zarr", "the name of the bucket is not valid"),
    ],
)
def test_addresses_that_lead_nowhere(s3, url, sentence):
    said = commands.failure("info", url)
    assert sentence in said
    assert "secret" not in said


@pytest.fixture(scope="module")
def weights(s3, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    commands.succeed("train", IMAGES, folder / "weights.zarr", *PAIR)
    commands.succeed("accumulate", IMAGES, folder / "sums.zarr", *PAIR)
    return folder


OUT = "s3://refusing/out"


@pytest.mark.parametrize(
    "command",
    [
        ("generate", OUT, "--images", 4, "--size", 16, "--workers", 0),
        ("rechunk", IMAGES, OUT, "--chunks", "2,16,16", "--workers", 0),
        *(("train", IMAGES, OUT, "--method", method, *PAIR) for method in ("mr", "l2")),
        ("train", IMAGES, OUT, "--mappings", "all", *PAIR[:2], *PAIR[4:]),
        ("accumulate", IMAGES, OUT, *PAIR),
        ("solve", "sums.zarr", OUT, "--workers", 0),
        ("synthesize", "weights.zarr", IMAGES, "--out", OUT, "--workers", 0),
        ("synthesize", "weights.zarr", "photograph.png", "--out", OUT),
        ("export", "weights.zarr", OUT),
        ("export", "weights.zarr", f"{OUT}.npz", "--format", "npz"),
        ("compare", IMAGES, "--methods", "mean", "--out", OUT, *PAIR[:4], "--workers", 0),
        ("report", "weights.zarr", "--out", f"{OUT}.html"),
    ],
    ids=lambda command: "-".join(map(str, command[:1] + command[-3:-2])),
)
def test_an_output_that_is_read_only_is_found_before_the_work(s3, weights, command):
    Image.new("L", (16, 16)).save(weights / "photograph.png")
    s3.refusal, s3.refused = (403, "AccessDenied", {}), ("PUT", "POST", "DELETE")
    s3.requests.clear()
    sentence = commands.failure(*command, cwd=weights)
    assert OUT in sentence
    assert "access is denied (AccessDenied: Sorry)" in sentence
    assert not [path for method, path in s3.requests if "/images.zarr/neutral/c/" in path]


def test_a_server_that_never_answers_is_told_in_time(s3, monkeypatch):
    monkeypatch.setattr(retries, "_answered", False)
    monkeypatch.setattr(retries, "_FIRST_CONTACT_SECONDS", 0.5)
    s3.silent = True
    options = {**s3.options, "config_kwargs": {"read_timeout": 1}}
    with pytest.raises(StoreError, match=r"s3://refusing/images.zarr .*does not answer in time .*check the endpoint"):
        mrdist.open_images(IMAGES, options)


def test_a_certificate_counts_only_with_its_authority(tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with faulty_s3.serve("secure", context):
        assert "no secure connection can be made" in commands.failure("info", "s3://secure/a.zarr")
        environment = {**os.environ, "AWS_CA_BUNDLE": str(tmp_path / "authority.pem")}
        assert "there is no bucket secure" in commands.failure("info", "s3://secure/a.zarr", env=environment)
