"""What /openapi.json says is what the service does: schemathesis asks it all that the description allows, and more.

Some thousand requests to a real service: ``pytest -m slow tests/test_service_description.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services import serving

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("MRDIST_FUZZ_EXAMPLES", "20"))
SECONDS = 900


def test_the_description_is_true(tmp_path):
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 0, "--max-requests", 1e6) as service:
        faces = {"images": 4, "size": 32, "labels": ["neutral", "happy"], "color": "gray"}
        service.finish(service.ask("POST", "/datasets", {"name": "faces", "generate": faces}))
        service.finish(service.submit("train", "smile", images="faces", source="neutral", target="happy"))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("--config-file", Path(__file__).with_name("schemathesis.toml")),
                *("run", f"{service.url}/openapi.json", "--phases", "examples,coverage,fuzzing"),
                *("--max-examples", str(EXAMPLES), "--seed", "7", "--request-timeout", "60", "--warnings", "off"),
                *("--exclude-path-regex", "/events$"),  # streams, which end with their jobs
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        print(done.stdout[-500:])
        assert done.returncode == 0, done.stdout
        assert service.raw("GET", "/healthz")[0] == 200
    assert "Traceback" not in (tmp_path / "log").read_text()
