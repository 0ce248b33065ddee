"""Options of trainings in the shell, made from the table of them and the registry of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from mrdist.cli.options import Command, Decorator, add_options
from mrdist.errors import ParameterError
from mrdist.methods.dials import DIALS, OWN
from mrdist.methods.domains import Flag
from mrdist.methods.method import Method
from mrdist.methods.option_table import OPTIONS, SHARED, Option
from mrdist.methods.option_words import by_option, describe, name_default, sentence
from mrdist.methods.registry import METHODS


class Value(click.ParamType[Any]):
    """What an option of the table may be; limits are checked by the work itself, wherever it was asked for."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text."""
        if not isinstance(value, str):
            return value
        try:
            return self.option.read(value)
        except ParameterError as error:
            self.fail(str(error), param, ctx)


def spell(option: Option, words: str, usual: str, to: str | None = None, **settings: Any) -> tuple[list[str], Any]:
    """Return switches and arguments of `click.option` for an option of the table.

    Parameters
    ----------
    option
        What it may be.
    words, usual
        A sentence that says what it is, and its default in words, which the command does not fill in.
    to
        Name of the command's parameter, by default the option's.
    settings
        Further arguments.
    """
    switch, name = option.name.replace("_", "-"), to or option.name
    settings = {"show_default": usual or None, "help": words, **settings}
    if isinstance(option.domain, Flag):
        return [f"--{switch}/--{option.domain.off}", name], {"default": None, **settings}
    one = option.metavar
    metavar = f"{one},{one},..." if not option.single else f"{one}|cv" if option.cv else one
    return [f"--{switch}", name], {"type": Value(option), "metavar": metavar, **settings}


def table_option(
    name: str,
    *,
    single: bool = True,
    several: bool = False,
    cv: bool = False,
    chosen: str | None = None,
    some: bool = False,
    help: str | None = None,  # noqa: A002 (as click calls it)
    usual: str = "",
    **settings: Any,
) -> Decorator:
    """Return the decorator that adds an option of the table to a command.

    Parameters
    ----------
    name
        In the table.
    single, several, cv
        Whether it may be one value, a list, or cv, here.
    chosen
        What several values do here, a phrase; by default that of the table.
    some
        Whether only some methods have it here, which are told.
    help
        What it is here, a phrase; by default that of the table.
    usual, settings
        As in `spell`.
    """
    known = OPTIONS[name]
    chosen = known.chosen if chosen is None else chosen
    option = replace(known, single=single, several=several, cv=cv, chosen=chosen)
    having = list(defaults_of(METHODS)[name]) if some else []
    words = sentence(help) if help else describe(option, having, list(METHODS))
    switches, arguments = spell(option, words, usual, **settings)
    return click.option(*switches, **arguments)


def shared_option(name: str) -> Decorator:
    """Return the decorator that adds an option that all methods have, with its default."""
    return table_option(name, **({} if SHARED[name] is None else {"default": SHARED[name], "show_default": True}))


def usual_option(name: str, **settings: Any) -> Decorator:
    """Return the decorator that adds an option with the default of the method that is trained unless one is named.

    Parameters
    ----------
    name, settings
        As in `table_option`.
    """
    default = next(iter(METHODS.values())).options[name]
    if settings.get("single") is False:
        default = str(default)  # to be read as a list of one
    return table_option(name, **{"default": default, "show_default": True, **settings})


def dial_options(command: Command) -> Command:
    """Add what can be turned when a mapping is applied."""
    return _dial_options(DIALS.values())(command)


def comparison_dial_options(command: Command) -> Command:
    """Add the same where several strengths are compared."""
    return _rows_of_dials(f"{DIALS['strength'].usual},{OWN}")(command)


def drawn_dial_options(command: Command) -> Command:
    """Add the same where several strengths are drawn."""
    return _rows_of_dials(DIALS["strength"].usual)(command)


def _rows_of_dials(usual: str) -> Callable[[Command], Command]:
    several = replace(DIALS["strength"], single=False, several=True, chosen="each is a row", usual=usual)
    return _dial_options([several, DIALS["mouth"]], strength="strengths")


def _dial_options(dials: Iterable[Option], **to: str) -> Callable[[Command], Command]:
    """Return the decorator that adds dials; ``to`` are names of the command's parameters that are not the dial's."""
    having = [name for name, method in METHODS.items() if method.has_dials]

    def add(command: Command) -> Command:
        spelt = [spell(dial, describe(dial, having, list(METHODS)), dial.usual, to.get(dial.name)) for dial in dials]
        return add_options(command, *(click.option(*switches, **arguments) for switches, arguments in spelt))

    return add


class MethodCommand(click.Command):
    """A command with ``--method`` and the options of methods."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own parameters, and before the labels those of the methods."""
        own = super().get_params(ctx)
        at = [parameter.name for parameter in own].index("source")
        return [*own[:at], *_method_options(METHODS), *own[at:]]


def defaults_of(methods: Mapping[str, Method]) -> dict[str, dict[str, Any]]:
    """Return the defaults of the methods that have an option, by option."""
    return by_option({name: method.options for name, method in methods.items()})


def _method_options(methods: Mapping[str, Method]) -> list[click.Parameter]:
    usual = next(iter(methods))
    names = ", ".join(f"{name} ({method.label})" if method.label else name for name, method in methods.items())
    made: list[click.Parameter] = [
        click.Option(["--method"], default=usual, show_default=True, metavar="M", help=f"Method: {names}.")
    ]
    for name, defaults in defaults_of(methods).items():
        option = OPTIONS[name]
        words = describe(option, list(defaults), list(methods))
        if isinstance(option.domain, Flag):
            flag = replace(option.domain, yes=name.replace("_", "-"), no=option.domain.off)
            option = replace(option, domain=flag)
        switches, arguments = spell(option, words, name_default(option, defaults))
        made.append(click.Option(switches, **arguments))
    return made


def training_options(*, required: bool) -> Callable[[Command], Command]:
    """Add the options that all methods share; ``required``: whether a source must be given."""

    def add(command: Command) -> Command:
        return add_options(command, *label_options(source=required), *map(shared_option, SHARED))

    return add


def accumulation_options(command: Command) -> Command:
    """Add the options that describe sums over images; by default those of an existing store."""
    return add_options(
        command,
        *label_options(),
        *_field_options,
        table_option("color", usual="the store's or shared"),
        *map(shared_option, ("split", "block", "max_memory", "codec")),
    )


def solving_options(command: Command) -> Command:
    """Add the options that describe a solve from sums."""
    return add_options(
        command,
        *_field_options,
        *map(usual_option, ("alpha", "pool", "prior", "penalize_intercept")),
        *map(shared_option, ("dtype", "block", "max_memory", "codec")),
    )


def label_options(*, source: bool = False, target: bool = False) -> list[Decorator]:
    """Return the options that name a mapping, and whether they are required."""
    return [
        click.option("--source", required=source, metavar="LABEL", help="Label of the inputs."),
        click.option("--target", required=target, metavar="LABEL", help="Label of the outputs."),
    ]


mappings_option = click.option(
    "--mappings",
    type=click.Choice(["all"]),
    help="all: the source to every other label and every other label to the source.",
)


def mapping_options(command: Command) -> Command:
    """Add the labels of a mapping, both required."""
    return add_options(command, *label_options(source=True, target=True))


_field_options = [table_option(name, usual="the store's") for name in ("receptive_field", "dilation")]
