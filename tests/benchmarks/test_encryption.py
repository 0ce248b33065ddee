"""What it costs that workers speak to nobody but their own process: with certificates, and without."""

import json
import subprocess
import sys

import pytest

from benchmarks.stores import synthetic, write_store

N_PAIRS, SIZE, ROUNDS = 200, 384, 9
#: Trains with two workers and tells the seconds of their start and of the run.
TRAIN = """
import json, sys
import distributed
import mrdist

def open_to_all(**how):
    return own_cluster(**{**how, "security": None})

if __name__ == "__main__":
    images, weights, how = sys.argv[1:]
    own_cluster = distributed.LocalCluster
    if how == "open":
        distributed.LocalCluster = open_to_all
    asked = {"source": "neutral", "target": "happy", "block": (64, 64), "overwrite": True, "progress": False}
    run = mrdist.train(images, weights, workers=2, **asked)
    print(json.dumps({"start": run.start_seconds, "run": run.run_seconds}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encryption")
    write_store(str(folder / "images"), N_PAIRS, synthetic(SIZE, "gray"))
    return folder


def test_encrypted_workers(meter, folder):
    seconds = {"encrypted": [], "open": []}

    def trained(how):
        def once():
            line = [sys.executable, "-c", TRAIN, folder / "images", folder / how, how]
            done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=True)
            seconds[how].append(json.loads(done.stdout))

        return once

    meter.time(trained("encrypted"), {"open": trained("open")}, rounds=ROUNDS)
    for part, target in (("start", "0.2 s more"), ("run", "1.02")):
        ours, theirs = ([each[part] for each in seconds[how]] for how in ("encrypted", "open"))
        meter.tell(f"two workers, {part}", ours, theirs, "without encryption", target=target)
