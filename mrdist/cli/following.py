"""Jobs of a running service in the shell: found by a part of their name, followed, and told."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from mrdist.cli.options import print_table
from mrdist.errors import MrdistError

if TYPE_CHECKING:
    from mrdist.service.client import Client

_ID = re.compile(r"[0-9]{8}t[0-9]{12}-[0-9a-f]{8}")
_SHORTEST = len("20261125t093000")
_ENDED = ("done", "failed", "cancelled")
_PAUSE = 0.5
_PATIENCE = 60.0  # for a service that is started anew
_COLUMNS = 80


def client_of(url: str, token_file: str | None) -> Client:
    """Return a client of the service at an address."""
    from mrdist.service.client import Client
    from mrdist.service.tokens import read_token

    return Client(url, read_token(token_file))


@dataclass(frozen=True)
class Watched:
    """A job of a service.

    Attributes
    ----------
    client, id
        The service, and the job.
    """

    client: Client
    id: str

    @classmethod
    def find(cls, client: Client, words: str) -> Watched:
        """Return the job of an identifier, of the beginning of one, or the latest of a name.

        Raises
        ------
        MrdistError
            If there is none, or more than one.
        """
        if _ID.fullmatch(words):
            return cls(client, words)
        query = urlencode({"search": words[:100], "limit": 1000})
        jobs = client.ask("GET", f"/jobs?{query}")["jobs"]
        named = [job["id"] for job in jobs if job["name"] == words]
        meant = named[:1] or [job["id"] for job in jobs if job["id"].startswith(words)]
        if not meant:
            raise MrdistError(f"there is no job {words!r}; `mrdist jobs` lists them.")
        if len(meant) > 1:
            several = ", ".join(meant[:4]) + ", ..." * (len(meant) > 4)
            raise MrdistError(f"{words!r} is the beginning of {len(meant)} jobs ({several}); give more of it.")
        return cls(client, meant[0])

    @property
    def path(self) -> str:
        """Path of the job."""
        return f"/jobs/{self.id}"

    def now(self) -> dict[str, Any]:
        """Return the job as it is."""
        return self.client.ask("GET", self.path)

    def result(self) -> dict[str, Any]:
        """Return what the job has made, as its command prints it."""
        found: dict[str, Any] = self.client.ask("GET", f"{self.path}/result")["result"]
        return found

    def until_end(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Wait until the job has ended, and return it; ``say`` is called with a line whenever it has got further."""
        said, heard = "", time.monotonic()
        while True:
            try:
                job = self.now()
            except MrdistError as error:
                if error.__cause__ is None or time.monotonic() - heard > _PATIENCE:
                    raise
            else:
                heard = time.monotonic()
                if (line := f"{job['name']}: {_sentence(job)}") != said:
                    say(said := line)
                if job["state"] in _ENDED:
                    return job
            time.sleep(_PAUSE)


def print_jobs(title: str, jobs: Sequence[Mapping[str, Any]]) -> None:
    """Print jobs as a table that fits the terminal."""
    columns = shutil.get_terminal_size((_COLUMNS, 24)).columns
    names = [job["id"] for job in jobs]
    shorts = [_shortest(name, names) for name in names]
    rows = [
        [short, str(job["verb"]), _cut(job["name"], columns // 4), str(job["state"])]
        for short, job in zip(shorts, jobs, strict=True)
    ]
    header = ("job", "verb", "name", "state", "")
    used = sum(max(map(len, column)) + 1 for column in zip(header, *rows, strict=False)) if rows else 0
    room = max(columns - used - len(header), 8)
    print_table(title, header, [[*row, _cut(_progress(job), room)] for row, job in zip(rows, jobs, strict=True)])


def tell_job(job: Mapping[str, Any]) -> None:
    """Print all that is known of a job; its command on a line of its own, to be copied."""
    facts = {
        "job": job["id"],
        "state": _sentence(job),
        "by": job["user"],
        "submitted": job["submitted"],
        "started": job["started"],
        "finished": job["finished"],
        "waits for": ", ".join(job["after"]),
        "note": job["note"],
        "tags": ", ".join(job["tags"]),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name + ':':<11}{value}")
    for warning in job["warnings"]:
        click.echo(f"{'warning:':<11}{warning}")
    click.echo(job["command"])


def _shortest(name: str, others: Sequence[str]) -> str:
    """Return the shortest beginning of an identifier that no other one has.

    Examples
    --------
    >>> _shortest("20261125t093000123456-0f3a9c2e", ["20261125t093000200000-00000000"])
    '20261125t0930001'
    """
    for length in range(_SHORTEST, len(name)):
        if not any(other != name and other.startswith(name[:length]) for other in others):
            return name[:length]
    return name


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _sentence(job: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (str(job["state"]), _progress(job))))


def _progress(job: Mapping[str, Any]) -> str:
    """Describe the progress of a job in a few words."""
    if job["last_error"] is not None:
        return str(job["last_error"])
    parts = []
    if job["state"] == "queued" and job["after"]:
        parts.append(f"waits for {', '.join(job['after'])}")
    if job["state"] in ("running", "stopping") and job["blocks"] is not None:
        parts.append(f"{job['phase']}: {job['blocks_done']} of {job['blocks']}")
        if (share := job.get("share")) and share * job["blocks"] > job["blocks_done"]:
            parts.append(f"{share:.0%}")  # more than the blocks that are done
        if job["images_per_second"] is not None:
            parts.append(f"{job['images_per_second']:.0f} images/s")
        if job["seconds_left"] is not None:
            parts.append(f"{job['seconds_left']:.0f} s left")
    if job["scores"]:
        parts += [f"{name} {value:.3g}" for name, value in job["scores"].items() if isinstance(value, float)]
    return ", ".join(parts)
