"""Commands of the service, and of those who use one that runs."""

from __future__ import annotations

from typing import Any

import click

from mrdist.cli.options import cluster_options, json_option, print_json
from mrdist.errors import MrdistError


@click.command()
@click.option(
    "--catalog", default="mrdist-catalog", show_default=True, metavar="URL", help="Folder or bucket for everything."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="NAME", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8899, show_default=True, help="0: any free one.")
@click.option(
    "--token-file", metavar="F", help="Holds the token clients must show; else MRDIST_TOKEN, on loopback none."
)
@click.option("--allow-host", "allowed_hosts", multiple=True, metavar="NAME", help="Another name clients call it by.")
@click.option("--max-running", type=int, default=1, show_default=True, metavar="N", help="Jobs at once; others wait.")
@click.option(
    "--max-memory",
    default="2GiB",
    show_default=True,
    metavar="SIZE",
    help="Most that a job may ask for per worker process.",
)
@click.option(
    "--max-requests",
    "requests_per_second",
    type=float,
    default=100,
    show_default=True,
    metavar="N",
    help="Requests a second of one client.",
)
@cluster_options
@json_option
def serve(catalog: str, token_file: str | None, max_memory: str, as_json: bool, **options: Any) -> None:
    """Serve trainings, models and pictures over HTTP and to browsers, from a catalogue that outlives the service."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MrdistError(
            f"the service needs {error.name}, which is not installed: pip install 'mrdist[service]'."
        ) from error
    from mrdist.planning import parse_bytes
    from mrdist.service.server import run
    from mrdist.service.settings import Settings, read_token

    settings = Settings(token=read_token(token_file), max_memory=parse_bytes(max_memory), **options)

    def announce(url: str, where: str) -> None:
        if as_json:
            print_json({"url": url, "catalog": where})
        else:
            click.echo(f"{url} serves {where}; Ctrl-C ends it.")

    run(catalog, settings, announce)


COMMANDS = (serve,)
