"""Real services in real processes, and a small client of theirs."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import urllib.error
import urllib.request

from commands import MRDIST

SECONDS = 120


class Service:
    """A service that runs, asked over HTTP."""

    def __init__(self, process, url, log):
        self.process, self.url, self.log = process, url, log

    def raw(self, method, path, body=None, headers=(), data=None):
        """Return status, headers and content of an answer."""
        sent = dict(headers)
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        path = path if path.startswith(("/healthz", "/readyz")) else f"/api/v1{path}"
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def ask(self, method, path, body=None, status=(200, 202), **headers):
        """Return the JSON of an answer that must have this status."""
        code, _, content = self.raw(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        assert code in ((status,) if isinstance(status, int) else status), content
        return json.loads(content) if content else None

    def refusal(self, status, method, path, body=None, **headers):
        """Return the one sentence with which a request is refused."""
        found = self.ask(method, path, body, status, **headers)
        assert found["status"] == status
        assert found["detail"].endswith(".")
        return found["detail"]

    def submit(self, verb, name, status=202, key=None, **options):
        """Submit a job."""
        headers = {} if key is None else {"idempotency_key": key}
        return self.ask("POST", "/jobs", {"verb": verb, "name": name, "options": options}, status, **headers)

    def job(self, job):
        return self.ask("GET", f"/jobs/{job['id']}")

    def wait(self, job, *states):
        """Wait until a job is in one of some states, by default ended, and return it."""
        wanted = states or ("done", "failed", "cancelled")
        for kind, _, data in self.events(job):
            if kind == "job" and data["state"] in wanted:
                return data
        raise AssertionError(f"{job} never was {wanted}: {self.log.read_text()}")

    def events(self, job, last=None):
        """Yield (event, id, data) of a job until its stream ends."""
        headers = {} if last is None else {"last-event-id": last}
        request = urllib.request.Request(f"{self.url}/api/v1/jobs/{job['id']}/events", headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            found = {}
            for line in answer:
                if text := line.decode().rstrip("\n"):
                    name, _, value = text.partition(": ")
                    found[name] = value
                elif "event" in found:
                    yield found["event"], found.get("id"), json.loads(found["data"])
                    found = {}

    def finish(self, job):
        """Wait until a job is done and return it."""
        found = self.wait(job)
        assert found["state"] == "done", (found, self.log.read_text())
        return found

    def kill(self):
        """Let it die without a word."""
        self.process.kill()
        self.process.wait()


def token_file(folder, token, name="token", mode=0o600):
    """Write a token that nobody else may read, and return the file."""
    path = folder / name
    path.touch(mode)
    path.chmod(mode)
    path.write_text(token)
    return path


@contextlib.contextmanager
def serving(catalog, log, *args, env=None, first=None):
    """Start ``mrdist serve`` on a free port, and end it with the context.

    ``first`` is Python that its process runs before, for limits that are too long for a test.
    """
    command = [MRDIST] if first is None else [sys.executable, "-c", f"{first}\nfrom mrdist.cli import main; main()"]
    with log.open("a") as stream:
        process = subprocess.Popen(
            [*command, "serve", "--catalog", str(catalog), "--port", "0", "--json", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=env,
        )
    with process:
        try:
            assert select.select([process.stdout], [], [], SECONDS)[0], log.read_text()
            line = process.stdout.readline()
            assert line, log.read_text()
            yield Service(process, json.loads(line)["url"], log)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            finally:
                process.kill()
