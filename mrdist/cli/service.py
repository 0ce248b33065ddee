"""Commands that run a service or use a running one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from mrdist.cli.comparing import comparison_options
from mrdist.cli.data import generation_options, ingestion_options
from mrdist.cli.options import (
    cluster_options,
    json_option,
    print_json,
    print_table,
)
from mrdist.cli.training_options import MethodCommand, mappings_option, training_options
from mrdist.errors import MrdistError
from mrdist.methods.option_table import SHARED
from mrdist.service.roles import ROLES

if TYPE_CHECKING:
    from mrdist.service.client import Client
    from mrdist.service.roles import Role


@click.command()
@click.option(
    "--catalog", default="mrdist-catalog", show_default=True, metavar="URL", help="Folder or bucket of the catalogue."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="NAME", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8899, show_default=True, help="Port; 0: any free one.")
@click.option(
    "--token-file", metavar="F", help="File with the token of clients; else MRDIST_TOKEN. Loopback needs none."
)
@click.option("--tokens", metavar="F", help="File with users, the hashes of their tokens and their roles instead.")
@click.option("--access-log", metavar="F", help="File for a line of JSON about every request.")
@click.option(
    "--trust-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network of a proxy; its X-Forwarded-For says who its clients are.",
)
@click.option(
    "--allow-host", "allowed_hosts", multiple=True, metavar="NAME", help="Another host name that clients use."
)
@click.option("--max-running", type=int, default=1, show_default=True, metavar="N", help="Running jobs at most.")
@click.option(
    "--max-memory",
    default=SHARED["max_memory"],
    show_default=True,
    metavar="SIZE",
    help="Largest memory limit of a worker process that a job may request.",
)
@click.option(
    "--max-requests",
    "requests_per_second",
    type=float,
    default=100,
    show_default=True,
    metavar="N",
    help="Requests per second of one client.",
)
@cluster_options
@json_option
def serve(
    catalog: str, token_file: str | None, tokens: str | None, max_memory: str, as_json: bool, **options: Any
) -> None:
    """Serve trainings, models and pictures over HTTP, with pages for browsers, from a persistent catalogue."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MrdistError(
            f"the service needs {error.name}, which is not installed: pip install 'mrdist[service]'."
        ) from error
    from mrdist.planning import parse_bytes
    from mrdist.service.server import run
    from mrdist.service.settings import Settings
    from mrdist.service.tokens import read_token

    token = None if tokens is not None and token_file is None else read_token(token_file)
    settings = Settings(token=token, tokens=tokens, max_memory=parse_bytes(max_memory), **options)

    def announce(url: str, where: str) -> None:
        if as_json:
            print_json({"url": url, "catalog": where})
        else:
            click.echo(f"{url} serves {where}; Ctrl-C stops it.")

    run(catalog, settings, announce)


@click.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="read: look, and apply models; train: also run jobs; admin: also delete.",
)
@click.option("--tokens", metavar="F", help="File of `mrdist serve --tokens` to which the line is added.")
@json_option
def token(name: str, role: Role, tokens: str | None, *, as_json: bool) -> None:
    """Draw a token for the user NAME of a service: it is shown once, and the file of tokens has only its hash."""
    from mrdist.service.tokens import add_line, make_token

    drawn, line = make_token(name, role)
    if tokens is not None:
        add_line(tokens, line)
    if as_json:
        print_json({"user": name, "role": role, "token": drawn, "line": line})
        return
    click.echo(f"Token of {name}, which is not shown again: {drawn}")
    click.echo(f"Line for the file of --tokens: {line}" if tokens is None else f"Its line is in {tokens}.")


def _service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the address of the service and its token."""
    command = click.option("--token-file", metavar="F", help="File with the service's token; else MRDIST_TOKEN.")(
        command
    )
    return click.option(
        "--url",
        envvar="MRDIST_URL",
        default="http://127.0.0.1:8899",
        show_default=True,
        metavar="URL",
        help="Address of the service; else MRDIST_URL.",
    )(command)


def _client(url: str, token_file: str | None) -> Client:
    from mrdist.service.client import Client
    from mrdist.service.tokens import read_token

    return Client(url, read_token(token_file))


@click.group()
def submit() -> None:
    """Submit a job to a running service; datasets and models are named as in its catalogue.

    The options are those of the command of the same name.
    """


@submit.command("train", cls=MethodCommand)
@click.argument("images")
@click.argument("weights", metavar="MODEL")
@training_options(required=True)
@mappings_option
@_service_options
@json_option
def submit_train(images: str, weights: str, **options: Any) -> None:
    """Train MODEL from the dataset IMAGES."""
    if (options["target"] is None) == (options["mappings"] is None):
        raise click.UsageError("give either --target (a label or all) or --mappings.")
    _submit("train", weights, images=images, **options)


@submit.command("compare")
@click.argument("images")
@click.argument("name")
@comparison_options
@_service_options
@json_option
def submit_compare(name: str, **options: Any) -> None:
    """Train methods on the dataset IMAGES and compare them, as NAME."""
    _submit("compare", name, **options)


@submit.command("generate")
@click.argument("name", metavar="DATASET")
@generation_options
@_service_options
@json_option
def submit_generate(name: str, labels: str | None, **options: Any) -> None:
    """Draw synthetic faces into DATASET."""
    names = None if labels is None else [label.strip() for label in labels.split(",")]
    _submit("generate", name, labels=names, **options)


@submit.command("ingest")
@click.argument("source")
@click.argument("name", metavar="DATASET")
@ingestion_options(of_catalogs=True)
@_service_options
@json_option
def submit_ingest(name: str, **options: Any) -> None:
    """Ingest the photographs of SOURCE, a folder or archive in the catalogue's sources/, into DATASET."""
    _submit("ingest", name, **options)


def _submit(verb: str, name: str, *, url: str, token_file: str | None, as_json: bool, **options: Any) -> None:
    source = click.get_current_context().get_parameter_source
    given = {  # the service knows the defaults, and its limits
        option: value
        for option, value in options.items()
        if value is not None and source(option) is not click.core.ParameterSource.DEFAULT
    }
    body = {"verb": verb, "name": name, "options": given}
    # with the key, repeated requests make one job
    job = _client(url, token_file).ask("POST", "/jobs", body, {"idempotency-key": uuid.uuid4().hex})
    if as_json:
        print_json(job)
    else:
        click.echo(f"{job['id']}: {job['state']}; `mrdist jobs` shows its progress.")


@click.command()
@click.argument("job", required=False)
@click.option("--state", metavar="STATE", help="Only jobs in this state: queued, running, done, failed or cancelled.")
@click.option(
    "--limit", type=int, default=20, show_default=True, metavar="N", help="Jobs at most; the latest are shown."
)
@_service_options
@json_option
def jobs(job: str | None, state: str | None, limit: int, url: str, token_file: str | None, *, as_json: bool) -> None:
    """List the jobs of a running service, latest first, or show the progress of JOB."""
    client = _client(url, token_file)
    if job is not None:
        answer = client.ask("GET", f"/jobs/{quote(job, safe='')}")
        listed = [answer]
    else:
        query = {"limit": limit} | ({} if state is None else {"state": state})
        answer = client.ask("GET", f"/jobs?{urlencode(query)}")
        listed = answer["jobs"]
    if as_json:
        print_json(answer)
        return
    rows = [(each["id"], each["verb"], each["name"], each["state"], _progress(each)) for each in listed]
    print_table(url, ("job", "verb", "name", "state", ""), rows)


def _progress(job: Mapping[str, Any]) -> str:
    """Describe the progress of a job in a few words."""
    if job["last_error"] is not None:
        return str(job["last_error"])
    parts = []
    if job["state"] in ("running", "stopping") and job["blocks"] is not None:
        parts.append(f"{job['phase']}: {job['blocks_done']} of {job['blocks']}")
        if job["images_per_second"] is not None:
            parts.append(f"{job['images_per_second']:.0f} images/s")
        if job["seconds_left"] is not None:
            parts.append(f"{job['seconds_left']:.0f} s left")
    if job["scores"]:
        parts += [f"{name} {value:.3g}" for name, value in job["scores"].items() if isinstance(value, float)]
    return ", ".join(parts)


@click.command()
@click.argument("job")
@_service_options
@json_option
def cancel(job: str, url: str, token_file: str | None, *, as_json: bool) -> None:
    """Stop JOB of a running service; what it has finished is kept."""
    answer = _client(url, token_file).ask("POST", f"/jobs/{quote(job, safe='')}/cancel")
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{job}: {answer['state']}")


COMMANDS = (serve, token, submit, jobs, cancel)
