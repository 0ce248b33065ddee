"""A client of the service, for the command line; it needs nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mrdist.errors import MrdistError, ParameterError

DEFAULT_URL = "http://127.0.0.1:8899"
_SECONDS = 60


@dataclass(frozen=True)
class Client:
    """A client of a running service.

    Attributes
    ----------
    url
        Address of the service.
    token
        Token of the service.
    """

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ParameterError(f"{self.url!r} is not the address of a service; give one such as {DEFAULT_URL}.")

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Make a request and return the JSON of the answer.

        Parameters
        ----------
        method, path
            Path below ``/api/v1``.
        body, headers
            Of the request.

        Raises
        ------
        MrdistError
            The service refuses the request or does not answer.
        """
        sent = {"accept": "application/json", **(headers or {})}
        if body is not None:
            sent["content-type"] = "application/json"
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310  (checked above)
            f"{self.url.rstrip('/')}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=sent,
            method=method,
        )
        try:
            with _opener().open(request, timeout=_SECONDS) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise MrdistError(_said(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise MrdistError(
                f"no service answers at {self.url} ({reason}); start one with `mrdist serve`, or give its --url."
            ) from error
        try:
            result: dict[str, Any] = json.loads(content) if content else {}
        except ValueError as error:
            raise MrdistError(f"the server at {self.url} is not an mrdist service; check --url.") from error
        return result


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: the token is for the service alone."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _said(error: urllib.error.HTTPError) -> str:
    """Return the detail of a problem document."""
    try:
        problem = json.loads(error.read())
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"the service answers {error.code} ({error.reason}); check the --url."
