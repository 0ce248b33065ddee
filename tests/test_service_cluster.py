"""The jobs of a service obey the service alone: not who reaches their ports, with or without its token."""

import commands
import psutil
import pytest
from services import serving, token_file
from test_local_clusters import assert_closed, ports_of

import mrdist

TOKEN = "the-token-of-this-service"


@pytest.mark.long
def test_nobody_else_gets_into_the_jobs_of_a_service(tmp_path):
    faces = tmp_path / "catalog/datasets/faces.zarr"
    mrdist.generate(faces, images=40, size=160, labels=("neutral", "happy"), workers=0, progress=False)
    known = {"authorization": f"Bearer {TOKEN}"}
    # more than a minute of work, which the intruder has until then
    options = {"images": "faces", "source": "neutral", "target": "happy", "receptive_field": 21, "block": [16, 16]}
    token = token_file(tmp_path, TOKEN)
    with serving(tmp_path / "catalog", tmp_path / "log", "--workers", 2, "--token-file", token) as service:
        server = psutil.Process(service.process.pid)
        own = ports_of(server)[1]
        job = service.ask("POST", "/jobs", {"verb": "train", "name": "smile", "options": options}, **known)

        def ports():
            try:
                return sorted(set(ports_of(server)[1]) - set(own))
            except psutil.NoSuchProcess:  # one of those that come and go
                return []

        # of a scheduler, of two workers and of their nannies, each with a server of HTTP but the nannies
        commands.wait_until(lambda: len(ports()) >= 8, "the workers", seconds=2 * commands.SECONDS)
        assert ports_of(server)[0] == {"127.0.0.1"}
        assert_closed(ports())
        record = service.ask("GET", f"/jobs/{job['id']}", **known)
        assert (record["state"], record["dashboard"]) == ("running", None)
        service.ask("POST", f"/jobs/{job['id']}/cancel", **known)
    assert "Traceback" not in (tmp_path / "log").read_text()
