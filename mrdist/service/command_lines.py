"""The command that submits a job, as somebody could have typed it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from mrdist.methods.domains import Flag
from mrdist.methods.option_table import OPTIONS
from mrdist.pipeline.ingesting.options import INGEST
from mrdist.service.work import Verb

_OPERANDS: Mapping[Verb, str | None] = {"train": "images", "compare": "images", "generate": None, "ingest": "source"}
_ROWS = ("receptive_fields", "dilations", "pools", "strengths")  # lists of a comparison, which have a switch for one
_FLAGS = {"recognition": ("recognition", "no-recognition"), "strict": ("strict", None)}


def command_line(verb: Verb, name: str, options: Mapping[str, Any]) -> str:
    """Return the command that submits a request.

    Parameters
    ----------
    verb, name, options
        Of the request.

    Examples
    --------
    >>> command_line("train", "smile", {"images": "faces", "source": "neutral", "target": "happy", "alpha": [0.1, 1.0]})
    'mrdist submit train faces smile --source neutral --target happy --alpha 0.1,1.0'
    """
    operand = _OPERANDS[verb]
    words = ["mrdist", "submit", verb, *([] if operand is None else [str(options[operand])]), name]
    for option, value in options.items():
        if option != operand:
            words += _words(option, value)
    return shlex.join(words)


def _words(option: str, value: Any) -> list[str]:
    switch = (option.removesuffix("s") if option in _ROWS else option).replace("_", "-")
    if isinstance(value, bool):
        on, off = _FLAGS.get(option) or (switch, _off(option))
        word = on if value else off
        return [] if word is None else [f"--{word}"]
    if isinstance(value, Mapping):
        return [word for key, each in value.items() for word in (f"--{switch}", f"{key}={each}")]
    return [f"--{switch}", ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]


def _off(option: str) -> str | None:
    domain = (OPTIONS.get(option) or INGEST[option]).domain
    return domain.off if isinstance(domain, Flag) else None
