"""What /openapi.json says is what the service does: schemathesis asks it all that the description allows, and more.

Some thousand requests to real services: ``pytest -m long tests/test_service_description.py``. Operation by operation,
without a token; then along the links of the description, from jobs to their results and from lists to their entries,
with one. ``MRDIST_FUZZ_EXAMPLES`` says how many examples of an operation, and a fifth of the walks along the links.
"""

import os
import subprocess
import sys
from pathlib import Path

import photographs
import pytest
from services import serving, token_file

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("MRDIST_FUZZ_EXAMPLES", "20"))
SEED = os.environ.get("MRDIST_FUZZ_SEED", "7")
TOKEN = "the-token-of-the-walks"
SECONDS = 900
PAIR = {"images": "faces", "source": "neutral", "target": "happy"}


def fill(service, catalog):
    """Make something of each kind for what is asked to be there."""
    faces = {"images": 4, "size": 32, "labels": ["neutral", "happy"], "color": "gray"}
    service.finish(service.ask("POST", "/datasets", {"name": "faces", "generate": faces}))
    service.finish(service.submit("train", "smile", **PAIR))
    service.finish(
        service.submit("compare", "both", **PAIR, methods=["mr", "identity"], recognition=False, split="train")
    )
    photographs.write_photographs(catalog / "sources" / "people", 3)


def ask(service, folder, phases, examples, *args):
    """Let schemathesis ask, and fail with what it says."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("--config-file", Path(__file__).with_name("schemathesis.toml")),
            *("run", f"{service.url}/openapi.json", "--phases", phases, "--max-examples", str(examples)),
            *("--seed", SEED, "--request-timeout", "60", "--warnings", "off"),
            *("--exclude-path-regex", "/events$"),  # streams, which end with their jobs
            *args,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(done.stdout[-500:])
    assert done.returncode == 0, done.stdout
    assert service.raw("GET", "/healthz")[0] == 200
    assert "Traceback" not in service.log.read_text()


def test_the_description_is_true(tmp_path):
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 0, "--max-requests", 1e6) as service:
        fill(service, tmp_path / "catalog")
        ask(service, tmp_path, "examples,coverage,fuzzing", EXAMPLES)


def test_what_links_lead_to_is_there(tmp_path):
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 0, "--max-requests", 1e6) as service:
        fill(service, tmp_path / "catalog")
    hidden = ("--token-file", token_file(tmp_path, TOKEN), "--workers", 0, "--max-requests", 1e6)
    with serving(tmp_path / "catalog", tmp_path / "log", *hidden) as service:
        ask(service, tmp_path, "stateful", 5 * EXAMPLES, "-H", f"Authorization: Bearer {TOKEN}")
