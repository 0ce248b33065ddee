"""Commands that run a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mrdist.cli.options import cluster_options, json_option, print_json
from mrdist.errors import MrdistError
from mrdist.methods.option_table import SHARED
from mrdist.service.roles import ROLES

if TYPE_CHECKING:
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
