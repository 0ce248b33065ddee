"""The main job from object storage and back, over real HTTP requests to a local S3 server (moto)."""

import json
import signal
import zipfile

import boto3
import commands
import faulty_s3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

import mrdist


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a running server, named in the environment as users name theirs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key-of-the-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        faulty_s3.make_bucket("faces")
        yield "s3://faces"
    server.stop()


def run(*arguments: str) -> str:
    return commands.succeed(*arguments).stdout


@pytest.mark.slow
def test_generate_train_and_evaluate_on_s3_equal_the_same_on_disk(bucket, tmp_path):
    labels = ("--images", "12", "--size", "48", "--labels", "neutral,happy", "--color", "gray")
    pair = ("--source", "neutral", "--target", "happy")
    run("generate", f"{bucket}/images.zarr", *labels, "--workers", "0")
    train = ("train", f"{bucket}/images.zarr", f"{bucket}/weights.zarr", *pair, "--workers", "2")
    done = commands.cold(*train)
    assert done.returncode == 0, done.stderr
    run("generate", str(tmp_path / "images.zarr"), *labels, "--workers", "0")
    run("train", str(tmp_path / "images.zarr"), str(tmp_path / "weights.zarr"), *pair, "--workers", "0")

    remote, local = mrdist.open_weights(f"{bucket}/weights.zarr"), mrdist.open_weights(str(tmp_path / "weights.zarr"))
    np.testing.assert_array_equal(remote.coef, local.coef)
    np.testing.assert_array_equal(remote.intercept, local.intercept)
    assert mrdist.open_images(f"{bucket}/images.zarr").sizes["image"] == 12
    assert json.loads(run("info", f"{bucket}/weights.zarr", "--json"))["complete"] is True
    scores = json.loads(run("evaluate", f"{bucket}/weights.zarr", f"{bucket}/images.zarr", "--split", "test", "--json"))
    assert scores["splits"]["test"]["frame"]["model"]["mse"] > 0
    assert "already complete" in run(*train)


@pytest.mark.slow
def test_demo_leaves_everything_on_s3_and_may_run_again(bucket, monkeypatch):
    monkeypatch.setattr("mrdist.pipeline.showing.demo.N_IMAGES", 60)
    monkeypatch.setattr("mrdist.pipeline.showing.demo.SIZE", 32)
    first, again = (mrdist.demo(f"{bucket}/demo", workers=0) for _ in range(2))
    assert first == again
    client = boto3.client("s3")
    drawn = [item["Key"] for item in client.list_objects_v2(Bucket="faces", Prefix="demo/faces")["Contents"]]
    assert [f"s3://faces/{key}" for key in drawn if key.count("/") == 1] == [first.picture]
    assert sum(f"s3://faces/{key}".startswith(f"{first.faces}/") for key in drawn) == 6
    for key in drawn:
        Image.open(client.get_object(Bucket="faces", Key=key)["Body"]).verify()
    assert json.load(client.get_object(Bucket="faces", Key="demo/demo.json")["Body"]) == first.scores
    assert mrdist.open_weights(first.weights).shape == (32, 32)


@pytest.mark.slow
def test_sums_on_s3_grow_and_are_solved(bucket, tmp_path):
    options = ("--size", "48", "--labels", "neutral,happy", "--color", "gray", "--workers", "0")
    pair = ("--source", "neutral", "--target", "happy", "--split", "all")
    for name, n in (("some", "7"), ("more", "12")):
        run("generate", f"{bucket}/{name}.zarr", "--images", n, *options)
    run("accumulate", f"{bucket}/some.zarr", f"{bucket}/sums.zarr", *pair, "--workers", "0")
    run("accumulate", f"{bucket}/more.zarr", f"{bucket}/sums.zarr", "--append", "--split", "all", "--workers", "0")
    run("solve", f"{bucket}/sums.zarr", f"{bucket}/solved.zarr", "--workers", "0")
    run("train", f"{bucket}/more.zarr", str(tmp_path / "trained.zarr"), *pair, "--workers", "0")
    solved, trained = mrdist.open_weights(f"{bucket}/solved.zarr"), mrdist.open_weights(str(tmp_path / "trained.zarr"))
    np.testing.assert_array_equal(solved.coef, trained.coef)
    assert mrdist.open_statistics(f"{bucket}/sums.zarr").sizes["image"] == 12


@pytest.mark.slow
def test_photographs_and_archives_on_s3_are_ingested_as_from_disk(bucket, tmp_path):
    client = boto3.client("s3")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for n, name in enumerate(f"{label}/{person}.png" for label in ("sad", "happy") for person in "abcd"):
            path = tmp_path / "people" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(n).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            client.upload_file(str(path), "faces", f"people/{name}")
            archive.write(path, name)
    client.upload_file(str(tmp_path / "more.zip"), "faces", "more.zip")
    for source, url in (
        (f"{bucket}/people", f"{bucket}/ingested.zarr"),
        (str(tmp_path / "people"), str(tmp_path / "i.zarr")),
    ):
        run("ingest", source, url, "--align", "none", "--workers", "0", "--color", "gray")
    out = run("ingest", f"{bucket}/more.zip", f"{bucket}/ingested.zarr", "--append", "--workers", "1", "--json")
    assert json.loads(out)["images_added"] == 4
    remote, local = mrdist.open_images(f"{bucket}/ingested.zarr"), mrdist.open_images(str(tmp_path / "i.zarr"))
    assert remote["image"].values.tolist() == [*"abcd", "more/a", "more/b", "more/c", "more/d"]
    for label in ("sad", "happy"):
        np.testing.assert_array_equal(remote[label].values, np.concatenate([local[label].values] * 2))
    done = commands.warm("ingest", f"{bucket}/nobody", str(tmp_path / "n.zarr"))
    assert done.returncode == 1
    assert (
        done.stderr
        == f"Error: There is no folder or archive {bucket}/nobody: give the one that holds the photographs.\n"
    )


@pytest.mark.slow
def test_an_output_on_s3_belongs_to_one_run(bucket, tmp_path):
    """A second one is refused while the first lives; killed, it is gone on with at once, and nothing else is left."""
    images, weights = f"{bucket}/leased-images.zarr", f"{bucket}/leased.zarr"
    run("generate", images, "--images", "12", "--size", "48", "--labels", "neutral,happy", "--workers", "0")
    command = ("train", images, weights, "--source", "neutral", "--target", "happy", "--workers", "0")
    run(*command[:2], str(tmp_path / "w.zarr"), *command[3:])
    client = boto3.client("s3")

    def keys(prefix):
        return [found["Key"] for found in client.list_objects_v2(Bucket="faces", Prefix=prefix).get("Contents", [])]

    with commands.running(*command, "--block", "16,16") as process:
        commands.wait_until(lambda: keys("leased.zarr/progress/done/c/") or process.poll() is not None, "a block")
        process.send_signal(signal.SIGSTOP)
        assert keys("leased.zarr.run") == ["leased.zarr.run"]
        assert f"(process {process.pid}, since" in commands.failure(*command)
        state = json.loads(run("info", weights, "--json"))
        assert (state["complete"], state["run"]["alive"], state["run"]["pid"]) == (False, True, process.pid)
        process.kill()
    run(*command)
    remote, local = mrdist.open_weights(weights), mrdist.open_weights(str(tmp_path / "w.zarr"))
    np.testing.assert_array_equal(remote.coef, local.coef)
    assert keys("leased.zarr.run") == []


def test_a_bucket_that_does_not_exist_is_one_sentence(bucket):
    done = commands.cold("info", "s3://no-such-bucket/images.zarr")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "s3://no-such-bucket/images.zarr" in done.stderr
    assert "Traceback" not in done.stderr
