"""Options in words: which methods have one, its default, and the sentence that says all that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrdist.methods.option_table import OPTIONS, Option


def sentence(words: str) -> str:
    """Return a phrase as a sentence.

    Examples
    --------
    >>> sentence("number of folds")
    'Number of folds.'
    """
    return f"{words[0].upper()}{words[1:]}."


def by_option(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the defaults of each option by method, in the order of the table, for the defaults of each method.

    Examples
    --------
    >>> by_option({"l2": {"alpha": 0.4}, "pca": {"components": None}, "l1": {"alpha": 0.001}})
    {'alpha': {'l2': 0.4, 'l1': 0.001}, 'components': {'pca': None}}
    """
    having = {
        name: {method: defaults[name] for method, defaults in methods.items() if name in defaults} for name in OPTIONS
    }
    return {name: defaults for name, defaults in having.items() if defaults}


def name_methods(having: Sequence[str], methods: Sequence[str]) -> str:
    """Return which of the methods have an option, empty if all do.

    Examples
    --------
    >>> name_methods(["l1", "l0"], ["mr", "l2", "l1", "l0"]), name_methods(["mr", "l2"], ["mr", "l2", "mean"])
    ('l1, l0', 'all but mean')
    """
    lacking = [method for method in methods if method not in having]
    if not lacking:
        return ""
    return ", ".join(having) if len(having) <= len(lacking) else f"all but {', '.join(lacking)}"


def name_default(option: Option, defaults: Mapping[str, Any]) -> str:
    """Return the defaults of the methods that have an option: the first one's, and which methods have another.

    Examples
    --------
    >>> name_default(OPTIONS["alpha"], {"mr": 0.4, "l2": 0.4, "kernel": 0.01})
    '0.4, of kernel 0.01'
    """
    words = {method: option.word(default) for method, default in defaults.items()}
    usual = next(iter(words.values()))
    return ", ".join([usual, *(f"of {method} {word}" for method, word in words.items() if word != usual)])


def describe(option: Option, having: Sequence[str] = (), methods: Sequence[str] = (), usual: str = "") -> str:
    """Return what an option is, in a sentence.

    Parameters
    ----------
    option
        The option.
    having, methods
        Methods that have it, among those that there are.
    usual
        Its default, if that is to be told.

    Examples
    --------
    >>> describe(OPTIONS["folds"], ["mr", "l2"], ["mr", "l2", "mean"], "5")
    'all but mean; with cv: number of folds; nobody is in two; by default 5.'
    """
    words = f"{option.phrase}; by default {usual}" if usual else option.phrase
    condition = "; ".join(filter(None, (name_methods(having, methods), "with cv" if option.search else "")))
    return f"{condition}: {words}." if condition else sentence(words)
