"""Models that hold several mappings, trained together: each is a model of its own, ``NAME:SOURCE-TARGET``."""

from __future__ import annotations

from mrdist.service.cache import Cache
from mrdist.service.catalog import Catalog
from mrdist.service.refusals import RefusedError
from mrdist.storage import describe

_members: Cache[list[str] | None] = Cache(1024)


def mappings_of(catalog: Catalog, name: str) -> list[str] | None:
    """Return the names under which a complete group of mappings has its models; None for any other model."""
    url, stamp = catalog.url_of("models", name), catalog.stamp("models", name)

    def find() -> list[str] | None:
        described = describe(url, catalog.storage_options)
        if described["kind"] != "mappings" or not described.get("complete"):
            return None
        return [f"{name}:{mapping}" for mapping in described["mappings"]]

    return _members.get((url, stamp), find)


def check_single(catalog: Catalog, name: str) -> None:
    """Check that a model is one mapping.

    Raises
    ------
    RefusedError
        If it holds several.
    """
    names = mappings_of(catalog, name)
    if names is not None:
        raise RefusedError(
            409, f"model {name!r} holds {len(names)} mappings, each a model of its own: name one, such as {names[0]!r}."
        )
