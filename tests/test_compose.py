"""docker-compose.yml: what it promises of every container, and (marked ``docker``) the cluster for real."""

import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from mrdist.planning import DEFAULT_MEMORY, parse_bytes

ROOT = Path(__file__).parent.parent
PREPARE = ROOT / "deploy" / "prepare.py"
FILES = ("-f", "docker-compose.yml", "-f", "deploy/compose.s3.yaml")


class _Loader(yaml.SafeLoader):
    """Knows the one tag with which an override takes something away."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


def _load(name):
    """Read a file of Compose, with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / name).read_text())
    assert "${" not in text
    return yaml.load(text, _Loader)


COMPOSE = _load("docker-compose.yml")
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("mrdist")}
LASTING = {name: service for name, service in SERVICES.items() if "restart" in service}


def _each(services):
    return pytest.mark.parametrize("service", services.values(), ids=list(services))


def _option(service, name):
    return service["command"][service["command"].index(name) + 1]


# --- what holds for every container --------------------------------------------------------------------


def test_what_runs_is_what_was_asked_for():
    assert set(LASTING) == {"seaweedfs", "scheduler", "worker", "service", "jupyter"}
    assert set(OURS) == set(SERVICES) - {"seaweedfs"}
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["demo"]
    assert [name for name, service in SERVICES.items() if "build" in service] == ["secrets"]


@_each(SERVICES)
def test_images_are_pinned(service):
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]*", service["image"])


@_each(SERVICES)
def test_ports_are_published_on_loopback_alone(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service.get("network_mode") in (None, "none")


def test_only_pages_for_people_are_published():
    published = {
        name: [port.rpartition(":")[2] for port in service["ports"]]
        for name, service in SERVICES.items()
        if "ports" in service
    }
    assert published == {"service": ["8899"], "jupyter": ["8888"]}


@_each(SERVICES)
def test_containers_have_no_rights_that_they_do_not_need(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges=true"]
    assert "privileged" not in service
    assert set(service.get("cap_add", ())) <= ({"CHOWN", "SETGID", "SETUID"} if service not in OURS.values() else set())
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"], "a folder of the machine"


@_each(SERVICES)
def test_nothing_secret_is_written_down(service):
    for name, value in service.get("environment", {}).items():
        if re.search("KEY|SECRET|TOKEN|PASSWORD|CREDENTIALS", name):
            assert value.startswith(("/secrets/", "/certificates/"))
    readers = [volume for volume in service["volumes"] if volume.startswith("secrets:")]
    assert all(volume.endswith(":ro") for volume in readers) or service is SERVICES["secrets"]
    assert service is not SERVICES["scheduler"] or not readers


@_each(LASTING)
def test_what_lasts_is_watched_limited_and_started_again(service):
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert parse_bytes(service["mem_limit"]) > 0


@_each({name: OURS[name] for name in OURS if name not in ("secrets", "bucket")})
def test_nothing_starts_before_the_bucket_is_there_and_the_scheduler_answers(service):
    before, waiting = set(), dict(service["depends_on"])
    while waiting:
        name, how = waiting.popitem()
        before.add((name, how["condition"]))
        waiting |= SERVICES[name].get("depends_on", {})
    if service is not SERVICES["scheduler"]:
        assert ("scheduler", "service_healthy") in before
    assert {
        ("bucket", "service_completed_successfully"),
        ("secrets", "service_completed_successfully"),
        ("seaweedfs", "service_healthy"),
    } <= before


def test_a_run_of_the_demo_leaves_the_number_of_workers_alone():
    assert "worker" not in SERVICES["demo"]["depends_on"]


def test_workers_have_the_memory_of_a_training():
    worker = SERVICES["worker"]
    assert parse_bytes(_option(worker, "--memory-limit")) == DEFAULT_MEMORY
    assert parse_bytes(_option(SERVICES["service"], "--max-memory")) == DEFAULT_MEMORY
    terminate = yaml.safe_load((ROOT / "deploy" / "dask.yaml").read_text())["distributed"]["worker"]["memory"][
        "terminate"
    ]
    assert parse_bytes(worker["mem_limit"]) >= terminate * DEFAULT_MEMORY + (256 << 20)
    assert _option(worker, "--nthreads") == "1"


def test_the_volumes_are_all_used():
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == set(COMPOSE["volumes"])


def test_another_s3_server_takes_the_place_of_seaweedfs():
    override = _load("deploy/compose.s3.yaml")["services"]
    assert override["seaweedfs"] is None
    users = {name for name, service in OURS.items() if "secrets:/secrets:ro" in service["volumes"]}
    assert users == set(override) - {"seaweedfs"}
    for name in users:
        keys = override[name]["environment"]
        assert keys["AWS_ENDPOINT_URL"] is keys["AWS_ACCESS_KEY_ID"] is keys["AWS_SECRET_ACCESS_KEY"] is None


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker")
@pytest.mark.parametrize("files", [FILES[:2], FILES], ids=["seaweedfs", "another server"])
def test_compose_finds_nothing_amiss(files):
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose")
    done = subprocess.run(
        ["docker", "compose", *files, "--profile", "demo", "config", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    services = json.loads(done.stdout)["services"]
    assert set(services) == set(SERVICES) - ({"seaweedfs"} if len(files) > 2 else set())
    assert all("seaweedfs" not in service.get("depends_on", {}) for service in services.values()) == (len(files) > 2)


# --- the image and what is run once --------------------------------------------------------------------


def test_the_image_runs_as_an_ordinary_user_on_a_pinned_base():
    lines = [line.split() for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if line.split()]
    (base,) = [line[1].partition("=")[2] for line in lines if line[0] == "ARG" and line[1].startswith("BASE")]
    assert base == SERVICES["secrets"]["build"]["args"]["BASE"]
    assert re.fullmatch(r"python:3\.\d+[\w.-]*", base)
    last = len(lines) - 1 - [line[0] for line in reversed(lines)].index("FROM")
    assert [line[1] for line in lines[last:] if line[0] == "USER"] == ["mrdist"]
    copied = {name for line in lines if line[0] == "COPY" and line[1][:2] != "--" for name in line[1:-1]}
    copied |= {name for line in lines if line[:2] == ["COPY", "--chown=mrdist"] for name in line[2:-1]}
    sent = (ROOT / ".dockerignore").read_text().split("\n", 1)[1].split()
    assert sent[0] == "*"
    assert copied == {name[1:] for name in sent if name[0] == "!"}
    assert all((ROOT / name).exists() for name in copied)


def _prepare(*arguments, **environment):
    return subprocess.run(
        [sys.executable, PREPARE, *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_secrets_are_drawn_once_and_are_never_the_same_twice(tmp_path):
    drawn = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        for _ in range(2):
            assert _prepare("secrets", folder, folder).returncode == 0
            files = {path.name: path.read_text() for path in folder.iterdir()}
            drawn.append(files)
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert set(drawn[0]) == {"aws", "seaweedfs.json", "jupyter-token", "service-token", "key.pem", "cert.pem"}
    assert all(drawn[0][name] != drawn[2][name] for name in drawn[0])
    assert all(len(drawn[0][name]) >= 40 for name in ("jupyter-token", "service-token"))

    keys = configparser.ConfigParser()
    keys.read_string(drawn[0]["aws"])
    (identity,) = json.loads(drawn[0]["seaweedfs.json"])["identities"]
    assert identity["credentials"] == [
        {"accessKey": keys["default"]["aws_access_key_id"], "secretKey": keys["default"]["aws_secret_access_key"]}
    ]


def test_keys_that_were_half_drawn_are_drawn_again(tmp_path):
    (tmp_path / "aws").write_text("[default]\naws_access_key_id = lost\n")
    (tmp_path / "key.pem").write_text("lost")
    assert _prepare("secrets", tmp_path, tmp_path).returncode == 0
    assert "lost" not in (tmp_path / "key.pem").read_text()
    assert "lost" not in (tmp_path / "aws").read_text()
    assert (tmp_path / "seaweedfs.json").exists()


@pytest.mark.slow
def test_the_bucket_is_made_once_and_a_server_that_refuses_is_told_in_a_sentence():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    where = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        for _ in range(2):
            done = _prepare("bucket", "faces", **where)
            assert (done.returncode, done.stderr) == (0, "")
        client = boto3.client(
            "s3", endpoint_url=where["AWS_ENDPOINT_URL"], aws_access_key_id="k", aws_secret_access_key="s"
        )
        buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
        assert buckets.count("faces") == 1  # the servers of a process share their buckets with those of other tests
        done = _prepare("bucket", "not a name", **where)
    finally:
        server.stop()
    assert done.returncode == 1
    assert re.fullmatch(r"Error: bucket not a name .*\.\n", done.stderr)
