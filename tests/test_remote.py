"""The command line on schedulers of its user: looked over before anything is removed, lost and found in the middle."""

import shutil
from functools import partial

import clusters
import commands
import pytest
import trustme

import mrdist
from mrdist.errors import ExecutionError
from mrdist.execution import _scheduler
from mrdist.pipeline.applying.synthesize_store import synthesize_store

LABELS = ("--source", "neutral", "--target", "happy")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = tmp_path_factory.mktemp("remote") / "images.zarr"
    commands.succeed(
        "generate", images, "--images", "12", "--size", "64", "--labels", "neutral,happy", "--workers", "0"
    )
    return images


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with clusters.scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


def test_an_unreachable_scheduler_is_found_before_the_old_output_is_removed(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_scheduler, "CONNECT_SECONDS", 0.2)
    weights, statistics = tmp_path / "weights.zarr", tmp_path / "statistics.zarr"
    commands.succeed("train", images, weights, *LABELS, "--workers", "0")
    commands.succeed("accumulate", images, statistics, *LABELS, "--workers", "0")
    model = str(shutil.copytree(weights, tmp_path / "model.zarr"))
    before = commands.files(weights)
    images, weights, statistics = map(str, (images, weights, statistics))
    nowhere = "tcp://127.0.0.1:9"
    labels = {"source": "neutral", "target": "happy"}
    for verb in (
        partial(mrdist.train, images, **labels),
        partial(mrdist.train, images, **labels, alpha="cv", folds=2),
        partial(mrdist.train, images, **labels, method="l2"),
        partial(mrdist.train, images, **labels, method="l1", window=3),
        partial(mrdist.train, images, **labels, method="mean"),
        partial(mrdist.train_mappings, images, source="neutral"),
        partial(mrdist.accumulate, images, **labels),
        partial(mrdist.solve, statistics),
        partial(mrdist.rechunk, images),
        partial(synthesize_store, model, images),
        lambda url, **options: mrdist.generate(url, images=2, size=16, **options),
        lambda url, **options: mrdist.ingest(tmp_path, url, **options),
    ):
        with pytest.raises(ExecutionError, match=f"no Dask scheduler answers at {nowhere} within"):
            verb(weights, scheduler=nowhere, overwrite=True)
        assert commands.files(weights) == before, verb


@pytest.mark.parametrize(("package", "found"), [("zarr", "zarr 2.0.0 and not"), ("mrdist", "has mrdist 2.0.0 and not")])
def test_a_worker_with_other_packages(images, scheduler, tmp_path, package, found):
    environment = clusters.other_packages(tmp_path, package)
    weights = tmp_path / "weights.zarr"
    with clusters.worker(scheduler, env=environment), clusters.at_work(scheduler, 1):
        said = commands.failure("train", images, weights, *LABELS, "--scheduler", scheduler)
    assert f"of {scheduler}" in said
    assert found in said
    assert not weights.exists()


@pytest.mark.slow
def test_a_scheduler_with_other_packages(images, tmp_path):
    with clusters.scheduler(tmp_path, env=clusters.other_packages(tmp_path, "distributed")) as (address, _):
        said = commands.failure("train", images, tmp_path / "weights.zarr", *LABELS, "--scheduler", address)
    assert f"the scheduler at {address} has distributed 2.0.0 and not" in said


def test_workers_with_too_little_memory(images, scheduler, tmp_path):
    weights = tmp_path / "weights.zarr"
    commands.succeed("train", images, weights, *LABELS, "--workers", "0")
    before = commands.files(weights)
    with clusters.worker(scheduler, "--memory-limit", "200MiB"), clusters.at_work(scheduler, 1):
        done = commands.run("train", images, weights, *LABELS, "--overwrite", "--scheduler", scheduler)
    assert done.returncode == 1
    notice, error = done.stderr.splitlines()
    assert notice == (
        f"workers of {scheduler} have 200 MiB for a block: planned for 190 MiB instead of the 2048 MiB of --max-memory"
    )
    assert error.startswith("Error: ")
    assert "190 MiB" in error
    assert commands.files(weights) == before


# --- certificates --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate of the cluster's authority and one of another, as the options name their files."""
    folder = tmp_path_factory.mktemp("certificates")
    found = {}
    for name in ("ours", "other"):
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        files = {part: folder / f"{name}-{part}.pem" for part in ("ca", "cert", "key")}
        authority.cert_pem.write_to_path(files["ca"])
        certificate.cert_chain_pems[0].write_to_path(files["cert"])
        certificate.private_key_pem.write_to_path(files["key"])
        found[name] = files
    return found


@pytest.mark.slow
def test_tls(images, certificates, tmp_path):
    weights = tmp_path / "weights.zarr"
    options = {
        name: [each for part, file in files.items() for each in (f"--tls-{part}", file)]
        for name, files in certificates.items()
    }
    of_dask = [each if each != "--tls-ca" else "--tls-ca-file" for each in options["ours"]]
    with clusters.scheduler(tmp_path, "--protocol", "tls", *of_dask) as (address, _):
        train = ("train", images, weights, *LABELS, "--scheduler")
        for wrong in (options["other"], [], [*options["ours"][:2], *options["other"][2:]]):
            assert "do not trust each other" in commands.failure(*train, address, *wrong)
        assert "tls://" in commands.failure(*train, address.replace("tls", "tcp"), *options["ours"], code=2)
        assert not weights.exists()
        with clusters.worker(address, *of_dask):
            assert commands.report(*train, address, *options["ours"])["blocks_run"] > 0
    assert commands.is_whole(weights)


@pytest.mark.parametrize("place", ["127.0.0.1:9", "127.0.0.1:99999", "127.0.0.1:abc", "127.0.0.1", ""])
def test_nobody_at_a_tls_address(images, certificates, tmp_path, place):
    options = [each for part, file in certificates["ours"].items() for each in (f"--tls-{part}", file)]
    command = ("train", images, tmp_path / "w.zarr", *LABELS, "--scheduler", f"tls://{place}", *options)
    said = commands.failure(*command, constants={"mrdist.execution._scheduler.CONNECT_SECONDS": 1})
    assert f"no Dask scheduler answers at tls://{place} within 1 s" in said


def test_certificates_that_are_none(images, tmp_path):
    (tmp_path / "none.pem").write_text("no certificate")
    options = [each for part in ("ca", "cert", "key") for each in (f"--tls-{part}", tmp_path / "none.pem")]
    said = commands.failure("train", images, tmp_path / "w.zarr", *LABELS, "--scheduler", "tls://127.0.0.1:9", *options)
    assert "do not trust each other" in said


@pytest.mark.slow
def test_a_scheduler_that_anyone_can_reach_is_warned_of(images, tmp_path):
    with clusters.scheduler(tmp_path, host="0.0.0.0") as (address, _):
        assert not address.startswith("tcp://127.")
        with clusters.worker(address):
            done = commands.succeed("train", images, tmp_path / "weights.zarr", *LABELS, "--scheduler", address)
    assert f"Warning: {address} is not encrypted and lets anyone who reaches its port run code" in done.stderr
