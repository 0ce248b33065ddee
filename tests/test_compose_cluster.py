"""The cluster of docker-compose.yml for real: images are built, workers killed, everything stopped and started again.

Needs a Docker Engine, and an S3 server in SeaweedFS's place that the AWS variables of the environment name.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import commands
import pytest

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parent.parent
LASTING = ("scheduler", "worker", "service", "jupyter")
WORKERS = 3
SCHEDULER = ("--scheduler", "tls://scheduler:8786")
SECONDS = 1200
PAIR = ("--source", "neutral", "--target", "happy", "--receptive-field", "5", "--block", "16,16")
BLOCKS = 64


class Cluster:
    """The containers of a project of its own, and the bucket that they work in."""

    def __init__(self, endpoint):
        self.project = self.bucket = f"mrdist-test-{uuid.uuid4().hex[:8]}"
        self.url = f"s3://{self.bucket}"
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "BUCKET": self.bucket,
            **dict.fromkeys(("JUPYTER_PORT", "SERVICE_PORT"), "0"),
        }
        self.client = boto3.client("s3")

    def start(self, *args, **options):
        """Start ``docker compose ARGS``."""
        files = ("-f", "docker-compose.yml", "-f", "deploy/compose.s3.yaml")
        return subprocess.Popen(
            ["docker", "compose", "-p", self.project, *files, *map(str, args)],
            cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, text=True, **options,
        )  # fmt: skip

    def compose(self, *args, code=0):
        """Run ``docker compose ARGS`` to its end and return what it wrote to stdout."""
        with self.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, err
        return out

    def mrdist(self, *args):
        """Return the arguments that run ``mrdist ARGS`` in a container."""
        return ("run", "--rm", "-T", "--no-deps", "demo", "mrdist", *args)

    def containers(self):
        return [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]

    def wait(self):
        """Wait until all that last are healthy and the workers are known."""
        states = {}

        def ready():
            states.update((each["Name"], (each["Service"], each["Health"])) for each in self.containers())
            services = [service for service, health in states.values() if health == "healthy"]
            return {name: services.count(name) for name in LASTING} == {**dict.fromkeys(LASTING, 1), "worker": WORKERS}

        commands.wait_until(ready, f"the containers to be healthy {states}", SECONDS)

    def address(self, service, port):
        return self.compose("port", service, port).strip()

    def get(self, service, port, path, **headers):
        request = urllib.request.Request(f"http://{self.address(service, port)}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def secret(self, name):
        return self.compose("exec", "-T", "service", "cat", f"/secrets/{name}")

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def download(self, name, folder):
        """Copy a store to disk and return where it lies."""
        for key in self.keys(f"{name}/"):
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(self.bucket, key, str(folder / key))
        return folder / name

    def blocks_done(self, name):
        return len(self.keys(f"{name}/progress/done/c/"))

    def remove(self):
        self.compose("--profile", "demo", "down", "--volumes", "--timeout", "1")
        for bucket in self.client.list_buckets()["Buckets"]:
            if bucket["Name"].startswith(self.bucket):  # Swift keeps parts in a bucket of their own
                for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
                    for item in page.get("Contents", ()):
                        self.client.delete_object(Bucket=bucket["Name"], Key=item["Key"])
                self.client.delete_bucket(Bucket=bucket["Name"])


@contextlib.contextmanager
def _reachable(endpoint):
    """Provide an address under which containers reach a server of this machine."""
    parts = urlsplit(endpoint)
    if parts.hostname not in ("localhost", "127.0.0.1"):
        yield endpoint
        return
    show = ("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    host = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    command = [sys.executable, __file__, host, str(parts.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        try:
            yield f"http://host.docker.internal:{int(relay.stdout.readline())}"
        finally:
            relay.kill()


@pytest.fixture(scope="module")
def cluster():
    with _reachable(os.environ["AWS_ENDPOINT_URL"]) as endpoint:
        cluster = Cluster(endpoint)
        try:
            timed("building the image", cluster.compose, "build", "secrets")
            timed("up, until all are healthy", lambda: (_up(cluster), cluster.wait()))
            yield cluster
        finally:
            cluster.remove()


def _up(cluster):
    cluster.compose("up", "--detach", "--no-build", "--scale", f"worker={WORKERS}")


def timed(what, function, *args):
    started = time.perf_counter()
    result = function(*args)
    print(f"{what}: {time.perf_counter() - started:.1f} s")
    return result


@pytest.fixture(scope="module")
def images(cluster):
    made = ("--images", 120, "--size", 128, "--labels", "neutral,happy", "--seed", 1)
    url = f"{cluster.url}/faces.zarr"
    timed("generating 120 people", cluster.compose, *cluster.mrdist("generate", url, *made, *SCHEDULER))
    return url


@pytest.fixture(scope="module")
def undisturbed(cluster, images, tmp_path_factory):
    """The store of a training in one container, without the cluster."""
    train = cluster.mrdist("train", images, f"{cluster.url}/alone.zarr", *PAIR, "--workers", 2)
    timed("training in one container with two processes", cluster.compose, *train)
    return cluster.download("alone.zarr", tmp_path_factory.mktemp("undisturbed"))


def test_containers_run_as_an_ordinary_user_on_a_root_that_they_cannot_write(cluster):
    look = "id -u; touch /opt/mrdist/x 2>&1; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status | cut -f 2"
    for name in LASTING:
        user, touched, capabilities, no_new = cluster.compose("exec", "-T", name, "sh", "-c", look).splitlines()
        assert (user, int(capabilities, 16), no_new) == ("1000", 0, "1")
        assert touched.endswith("Read-only file system")


def test_pages_answer_on_loopback_alone(cluster):
    pages = {"jupyter": (8888, "/api"), "service": (8899, "/healthz")}
    for container in cluster.containers():
        show = ("docker", "inspect", container["ID"], "--format", "{{json .NetworkSettings}}")
        network = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
        published = {port: where for port, where in network["Ports"].items() if where}
        if container["Service"] not in pages:
            assert published == {}
            continue
        port, path = pages[container["Service"]]
        ((where,),) = published.values()
        assert (list(published), where["HostIp"]) == ([f"{port}/tcp"], "127.0.0.1")
        assert cluster.get(container["Service"], port, path)[0] == 200
        (gateway,) = {each["Gateway"] for each in network["Networks"].values()}  # another address of this machine
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((gateway, int(where["HostPort"])), timeout=5)


def test_tokens_open_the_service_and_jupyter_and_are_in_no_log(cluster):
    service, jupyter = cluster.secret("service-token"), cluster.secret("jupyter-token")
    assert cluster.get("service", 8899, "/api/v1/datasets")[0] == 401
    assert cluster.get("service", 8899, "/api/v1/datasets", Authorization=f"Bearer {service}")[0] == 200
    assert cluster.get("jupyter", 8888, "/api/contents")[0] == 403
    status, found = cluster.get("jupyter", 8888, "/api/contents", Authorization=f"token {jupyter}")
    assert status == 200
    assert {"quickstart.ipynb", "paper.ipynb"} <= {item["name"] for item in json.loads(found)["content"]}
    logs = cluster.compose("logs", "--no-color")
    assert "Scheduler at" in logs
    assert service not in logs
    assert jupyter not in logs


def test_the_demo_trains_from_s3_and_back(cluster):
    said = timed("demo", cluster.compose, "run", "--rm", "-T", "demo")
    assert f"{cluster.url}/demo/weights.zarr" in said
    assert len(cluster.keys("demo/faces/")) == 6
    scores = json.loads(cluster.client.get_object(Bucket=cluster.bucket, Key="demo/demo.json")["Body"].read())
    face = scores["splits"]["test"]["face"]
    assert face["model"]["mse"] < 0.25 * face["identity"]["mse"]
    assert [each["Service"] for each in cluster.containers()].count("worker") == WORKERS


def test_a_killed_worker_changes_nothing_in_the_result(cluster, images, undisturbed, tmp_path):
    train = cluster.mrdist("train", images, f"{cluster.url}/killed.zarr", *PAIR, *SCHEDULER, "--json")
    started = time.perf_counter()
    with cluster.start(*train, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        commands.wait_until(lambda: cluster.blocks_done("killed.zarr") >= BLOCKS // 8, "the first blocks", SECONDS)
        subprocess.run(["docker", "kill", f"{cluster.project}-worker-2"], capture_output=True, check=True)
        done = cluster.blocks_done("killed.zarr")
        out, err = process.communicate(timeout=SECONDS)
    seconds = time.perf_counter() - started
    print(f"training on {WORKERS} workers, one killed after {done} of {BLOCKS} blocks: {seconds:.1f} s")
    assert process.returncode == 0, err
    assert 0 < done < BLOCKS
    assert json.loads(out)["blocks_run"] == BLOCKS
    log = cluster.compose("logs", "--no-color", "scheduler")
    print(*[line for line in log.splitlines() if "emove worker" in line or "unexpected" in line], sep="\n")
    assert "Remove worker" in log
    assert [each["Service"] for each in cluster.containers()].count("worker") == WORKERS - 1, "a killed one stays away"
    commands.assert_equal_bytes(cluster.download("killed.zarr", tmp_path), undisturbed)


def test_stop_and_start_lose_nothing(cluster, images, undisturbed, tmp_path):
    _up(cluster)
    cluster.wait()
    token = cluster.secret("service-token")
    train = cluster.mrdist("train", images, f"{cluster.url}/stopped.zarr", *PAIR, *SCHEDULER, "--json")
    with cluster.start(*train, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        commands.wait_until(lambda: cluster.blocks_done("stopped.zarr") >= BLOCKS // 8, "the first blocks", SECONDS)
        timed("stop", cluster.compose, "stop")
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, ""), err
    assert "Error: " in err
    assert "Traceback" not in err
    timed("start, until all are healthy", lambda: (cluster.compose("start"), cluster.wait()))
    report = json.loads(cluster.compose(*train))
    assert 0 < report["blocks_run"] < BLOCKS
    commands.assert_equal_bytes(cluster.download("stopped.zarr", tmp_path), undisturbed)
    assert cluster.secret("service-token") == token
    assert json.loads(cluster.compose(*train))["already_complete"] is True


def test_a_notebook_trains_on_the_cluster(cluster):
    convert = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "--stdout", "/notebooks/quickstart.ipynb")
    notebook = json.loads(timed("the quickstart notebook", cluster.compose, "exec", "-T", "jupyter", *convert))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert "quickstart/happy.zarr/zarr.json" in cluster.keys("quickstart/")


async def relay(host, port):
    """Pass on what containers say to a server that listens on loopback alone, and its answers; print our port."""

    async def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def answer(reader, writer):
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))

    server = await asyncio.start_server(answer, host, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], int(sys.argv[2])))
