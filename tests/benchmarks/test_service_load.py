"""A service that is asked fifty times a second, of all that can be read, while a training runs.

For ten minutes; ``MRDIST_LOAD_SECONDS`` says otherwise: ``pytest tests/benchmarks/test_service_load.py -s``.
"""

import http.client
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from services import serving

pytestmark = pytest.mark.filterwarnings("ignore")
SECONDS = int(os.environ.get("MRDIST_LOAD_SECONDS", "600"))
RATE, CLIENTS = 50, 8
PAIR = {"images": "faces", "source": "neutral", "target": "happy"}
TRAINING = {**PAIR, "receptive_field": 11, "block": [16, 16]}
READING = (
    "/healthz",
    "/metrics",
    "/api/v1/jobs",
    "/api/v1/jobs/{job}",
    "/api/v1/jobs/{job}/blocks",
    "/api/v1/datasets",
    "/api/v1/datasets/faces",
    "/api/v1/datasets/faces/rows?limit=20",
    "/api/v1/datasets/faces/rows/{n}/neutral.png?size=32",
    "/api/v1/models",
    "/api/v1/models/smile",
    "/api/v1/models/smile/receptive-field?y={n}&x=9",
    "/api/v1/models/smile/importance.png",
    "/api/v1/models/smile/faces/faces/{n}.png",
    "/api/v1/sources",
    "/",
    "/models",
    "/openapi.json",
)


class Client:
    """One connection, which asks at given moments."""

    def __init__(self, url, job, begin):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self.job, self.begin = job, begin
        self.answers, self.seconds = Counter(), []

    def run(self, number):
        for n in range(number, RATE * SECONDS, CLIENTS):
            time.sleep(max(0.0, self.begin + n / RATE - time.monotonic()))
            started = time.perf_counter()
            self.connection.request("GET", READING[n % len(READING)].format(job=self.job(), n=1 + n % 8))
            with self.connection.getresponse() as answer:
                answer.read()
                self.answers[answer.status] += 1
            self.seconds.append(time.perf_counter() - started)
        self.connection.close()
        return self


def test_mixed_reading_with_a_training_running(meter, tmp_path):
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 0) as service:
        faces = {"images": 60, "size": 128, "labels": ["neutral", "happy"], "color": "gray"}
        service.finish(service.ask("POST", "/datasets", {"name": "faces", "generate": faces}))
        service.finish(service.submit("train", "smile", **PAIR))
        process, memory = psutil.Process(service.process.pid), []
        over, trained = threading.Event(), []
        jobs = [service.submit("train", "trained-0", **TRAINING)]

        def train():
            while service.wait(jobs[-1])["state"] == "done":
                trained.append(jobs[-1])
                if over.is_set():
                    return
                service.ask("DELETE", f"/models/{jobs[-1]['name']}", status=204)
                jobs.append(service.submit("train", f"trained-{len(jobs)}", **TRAINING))

        def weigh():
            while not over.wait(SECONDS / 60):
                memory.append(process.memory_info().rss)

        begin = time.monotonic() + 1
        clients = [Client(service.url, lambda: jobs[-1]["id"], begin) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS + 2) as pool:
            beside = [pool.submit(train), pool.submit(weigh)]
            try:
                asked = list(pool.map(Client.run, clients, range(CLIENTS)))
                took = time.monotonic() - begin
            finally:
                over.set()
                service.raw("POST", f"/jobs/{jobs[-1]['id']}/cancel")
            for each in beside:
                each.result()
    answers = sum((client.answers for client in asked), Counter())
    assert answers == {200: RATE * SECONDS}
    seconds = np.concatenate([client.seconds for client in asked])
    third = len(memory) // 3
    early, middle, late = (float(np.median(part)) for part in (memory[:third], memory[third:-third], memory[-third:]))
    meter.tell(f"{RATE * SECONDS} requests: a second", RATE * SECONDS / took, unit="/s", target="50")
    meter.tell("  p50", np.percentile(seconds, 50))
    meter.tell("  p95", np.percentile(seconds, 95))
    meter.tell("  trainings that ended meanwhile", len(trained), unit="")
    for when, found in (("first third", early), ("second", middle), ("last", late)):
        meter.tell(f"  memory of the service, {when}", found, unit="B")
    assert late < 1.2 * middle
