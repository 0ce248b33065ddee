"""Commands that submit jobs to a running service, and look after them."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

import click

from mrdist.cli.comparing import comparison_options, print_comparison
from mrdist.cli.data import generation_options, ingestion_options, names_of, rename_option
from mrdist.cli.following import Watched, client_of, print_jobs, tell_job
from mrdist.cli.options import Command, add_options, json_option, print_json
from mrdist.cli.training_options import MethodCommand, mappings_option, training_options
from mrdist.errors import MrdistError

_following = (
    click.option("--wait", is_flag=True, help="Wait until it has ended; fail if it does."),
    click.option("--follow", is_flag=True, help="The same, and say on stderr how far it is."),
)
_service = (
    click.option(
        "--url",
        envvar="MRDIST_URL",
        default="http://127.0.0.1:8899",
        show_default=True,
        metavar="URL",
        help="Address of the service; else MRDIST_URL.",
    ),
    click.option("--token-file", metavar="F", help="File with the service's token; else MRDIST_TOKEN."),
    json_option,
)


def _service_options(command: Command) -> Command:
    """Add the address of the service, its token, and ``--json``."""
    return add_options(command, *_service)


def _submit_options(command: Command) -> Command:
    """Add the same, and whether to wait."""
    return add_options(command, *_following, *_service)


@click.group()
def submit() -> None:
    """Submit a job to a running service; datasets and models are named as in its catalogue.

    The options are those of the command of the same name. A job may name a dataset that an earlier one, queued or
    running, will make: it begins when that one is done.
    """


@submit.command("train", cls=MethodCommand)
@click.argument("images")
@click.argument("weights", metavar="MODEL")
@training_options(required=True)
@mappings_option
@_submit_options
def submit_train(images: str, weights: str, **options: Any) -> None:
    """Train MODEL from the dataset IMAGES."""
    if (options["target"] is None) == (options["mappings"] is None):
        raise click.UsageError("give either --target (a label or all) or --mappings.")
    _submit("train", weights, images=images, **options)


@submit.command("compare")
@click.argument("images")
@click.argument("name")
@comparison_options
@_submit_options
def submit_compare(name: str, **options: Any) -> None:
    """Train methods on the dataset IMAGES and compare them, as NAME."""
    _submit("compare", name, **options)


@submit.command("generate")
@click.argument("name", metavar="DATASET")
@generation_options
@_submit_options
def submit_generate(name: str, labels: str | None, **options: Any) -> None:
    """Draw synthetic faces into DATASET."""
    names = None if labels is None else [label.strip() for label in labels.split(",")]
    _submit("generate", name, labels=names, **options)


@submit.command("ingest")
@click.argument("source")
@click.argument("name", metavar="DATASET")
@ingestion_options(of_catalogs=True)
@rename_option
@_submit_options
def submit_ingest(name: str, rename: tuple[str, ...], **options: Any) -> None:
    """Ingest the photographs of SOURCE, a folder or archive in the catalogue's sources/, into DATASET."""
    _submit("ingest", name, rename=names_of(rename) or None, **options)


def _submit(
    verb: str,
    name: str,
    *,
    url: str,
    token_file: str | None,
    as_json: bool,
    wait: bool,
    follow: bool,
    **options: Any,
) -> None:
    source = click.get_current_context().get_parameter_source
    given = {  # the service knows the defaults, and its limits
        option: value
        for option, value in options.items()
        if value is not None and source(option) is not click.core.ParameterSource.DEFAULT
    }
    body = {"verb": verb, "name": name, "options": given}
    client = client_of(url, token_file)
    # with the key, repeated requests make one job
    job = client.ask("POST", "/jobs", body, {"idempotency-key": uuid.uuid4().hex})
    if wait or follow:
        _await(Watched(client, job["id"]), follow=follow, as_json=as_json)
    elif as_json:
        print_json(job)
    else:
        until = f", until {', '.join(job['after'])} is done" if job["after"] else ""
        click.echo(f"{job['id']}: {job['state']}{until}; `mrdist jobs` shows its progress.")


def _await(watched: Watched, *, follow: bool, as_json: bool) -> None:
    """Wait for the end of a job and tell it."""
    job = watched.until_end(lambda line: click.echo(line, err=True) if follow else None)
    if job["state"] != "done":
        how = "was cancelled" if job["state"] == "cancelled" else f"has failed: {job['last_error']}"
        raise MrdistError(f"job {job['id']} {how.rstrip('.')}.")
    _tell(watched, job, as_json=as_json)


def _tell(watched: Watched, job: dict[str, Any], *, as_json: bool) -> None:
    """Print a job, and the table of a comparison that is done."""
    if as_json:
        print_json(job)
        return
    tell_job(job)
    if job["verb"] == "compare" and job["state"] == "done":
        print_comparison(watched.result())


@click.command()
@click.argument("job", required=False)
@click.option("--state", metavar="STATE", help="Only jobs in this state: queued, running, done, failed or cancelled.")
@click.option("--search", metavar="TEXT", help="Only jobs with TEXT in their name, options, user, note or tags.")
@click.option(
    "--limit", type=int, default=20, show_default=True, metavar="N", help="Jobs at most; the latest are shown."
)
@_submit_options
def jobs(
    job: str | None,
    state: str | None,
    search: str | None,
    limit: int,
    wait: bool,
    follow: bool,
    url: str,
    token_file: str | None,
    as_json: bool,
) -> None:
    """List the jobs of a running service, latest first, or tell all about JOB.

    JOB is its identifier, the beginning of it, or the name of what it makes: then it is the latest of that name.
    """
    client = client_of(url, token_file)
    if job is None:
        if wait or follow:
            raise click.UsageError("--wait and --follow need a JOB.")
        query = {"limit": limit, "state": state, "search": search}
        answer = client.ask("GET", f"/jobs?{urlencode({name: value for name, value in query.items() if value})}")
        if as_json:
            print_json(answer)
        else:
            print_jobs(url, answer["jobs"])
        return
    watched = Watched.find(client, job)
    if wait or follow:
        _await(watched, follow=follow, as_json=as_json)
    else:
        _tell(watched, watched.now(), as_json=as_json)


@click.command()
@click.argument("job")
@_service_options
def cancel(job: str, url: str, token_file: str | None, *, as_json: bool) -> None:
    """Stop JOB of a running service; what it has finished is kept.

    JOB is its identifier, the beginning of it, or the name of what it makes: then it is the latest of that name.
    """
    client = client_of(url, token_file)
    answer = client.ask("POST", f"{Watched.find(client, job).path}/cancel")
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['id']}: {answer['state']}")
