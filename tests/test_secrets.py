"""Keys, passwords and tokens stay out of stores, logs, events, dashboards and messages, whatever goes wrong."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

import boto3
import clusters
import commands
import faulty_s3
import pytest
from PIL import Image

KEY, SECRET, TOKEN, PASSWORD = "key-1f0e2d", "secret-3c4b5a", "token-697887", "password-96a5b4"
ENVIRONMENT = ("key-of-the-test", "secret-of-the-test")

SCRIPT = """
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG)
import mrdist
from mrdist.events import written_to

options = json.load(open("options.json"))
pair = {"source": "neutral", "target": "happy", "split": "all", "scheduler": sys.argv[1]}
web = open("web.txt").read()
query = "?sign=" + web.partition("@")[0].rpartition(":")[2]

def attempt(function, *args, **kwargs):
    try:
        print(function(*args, **kwargs))
    except mrdist.errors.MrdistError:
        traceback.print_exc()

if __name__ == "__main__":
    with open("events.jsonl", "w") as events, written_to(events):
        for method in ("mr", "l2"):
            attempt(mrdist.train, "s3://secrets/images.zarr", f"s3://secrets/{method}.zarr", method=method,
                    storage_options=options, **pair)
        attempt(mrdist.train, "s3://secrets/broken.zarr", "s3://secrets/never.zarr", storage_options=options, **pair)
        attempt(mrdist.train, "s3://no-bucket/images.zarr", "s3://secrets/never.zarr", storage_options=options, **pair)
        attempt(mrdist.train, f"{web}/images.zarr", "web.zarr", **pair)
        attempt(mrdist.train, f"{web}/broken.zarr", "never.zarr", **pair)
        attempt(mrdist.train, f"{web}/nothing.zarr", "never.zarr", **pair)
        attempt(mrdist.evaluate, "web.zarr", f"{web}/images.zarr")
        attempt(mrdist.synthesize, "web.zarr", [f"{web}/face.png{query}"], "out")
        attempt(mrdist.synthesize, "web.zarr", [f"{web}/nobody.png{query}"], "out")
"""


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """A server of the files in a folder, by a URL with user name and password."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://someone:{PASSWORD}@127.0.0.1:{server.server_port}"
        server.shutdown()


def _pages(dashboard):
    """Return what a scheduler's pages say, those that they link to included."""
    todo = [f"{dashboard}/{page}" for page in ("status", "info/main/workers.html", "json/identity.json", "metrics")]
    texts: dict[str, str] = {}
    while todo and len(texts) < 40:
        page = todo.pop()
        texts[page] = ""
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=20) as answer:
            texts[page] = answer.read().decode(errors="replace")
        links = re.findall(r'href="([^"#:]+\.html)"', texts[page])
        todo += {urllib.parse.urljoin(page, link) for link in links} - set(texts) - set(todo)
    return texts


@contextlib.contextmanager
def _dask(log, *args):
    """Start ``dask ARGS`` with everything logged to a file."""
    logged = {"DASK_LOGGING__DISTRIBUTED": "debug", "DASK_LOGGING__ROOT": "debug"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **logged},
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(commands.SECONDS)


@pytest.mark.slow
def test_no_secret_is_found_anywhere(tmp_path, web):
    folder, url = web
    faces = ("--images", 8, "--size", 32, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "web.txt").write_text(url)
    logs = {name: tmp_path / f"{name}.txt" for name in ("scheduler", "worker", "driver")}
    with faulty_s3.serve("secrets") as s3:
        options = {"key": KEY, "secret": SECRET, "token": TOKEN, **s3.options}
        (tmp_path / "options.json").write_text(json.dumps(options))
        for name in ("images", "broken"):
            commands.succeed("generate", f"s3://secrets/{name}.zarr", *faces)
            commands.succeed("generate", folder / f"{name}.zarr", *faces)
        client, chunk = boto3.client("s3"), "broken.zarr/happy/c/0/0/0/0"
        client.delete_object(Bucket="secrets", Key=chunk)
        (folder / chunk).unlink()
        Image.new("L", (32, 32)).save(folder / "face.png")
        places = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
        file = tmp_path / "scheduler.json"
        with _dask(logs["scheduler"], "scheduler", "--port", 0, *places, "--scheduler-file", file):
            commands.wait_until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
            found = json.loads(file.read_text())
            with (
                _dask(logs["worker"], "worker", found["address"], *places, "--nthreads", 1, "--no-nanny"),
                clusters.at_work(found["address"], 1),
                logs["driver"].open("wb") as log,
            ):
                subprocess.run(
                    [sys.executable, "script.py", found["address"]],
                    cwd=tmp_path,
                    stdout=log,
                    stderr=log,
                    timeout=commands.SECONDS,
                    check=True,
                )
                pages = _pages(f"http://127.0.0.1:{found['services']['dashboard']}")
        keys = [each["Key"] for each in client.list_objects_v2(Bucket="secrets", MaxKeys=1000)["Contents"]]
        texts = {key: client.get_object(Bucket="secrets", Key=key)["Body"].read() for key in keys}
    texts |= {f"page {name}": text.encode() for name, text in pages.items()}
    texts |= {
        str(path): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name not in ("options.json", "web.txt") and folder not in path.parents
    }

    # what is looked through is what should be there
    driver = logs["driver"].read_text()
    assert driver.count("TrainReport(") == 3, driver
    assert driver.count("is missing from") >= 2
    assert "there is no bucket no-bucket" in driver
    assert "SynthesisReport(" in driver
    assert b"Compute Failed" in texts[str(logs["worker"])]
    assert b'"event": "block"' in texts[str(tmp_path / "events.jsonl")]
    assert {"mr.zarr/zarr.json", "l2.zarr/zarr.json"} <= set(keys)
    assert any("Compute Failed" in text for text in pages.values())  # a worker's log
    for secret in (KEY, SECRET, TOKEN, PASSWORD, *ENVIRONMENT):
        assert [name for name, text in texts.items() if secret.encode() in text] == [], secret
