"""Settings of a service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from mrdist.errors import ParameterError
from mrdist.planning import DEFAULT_MEMORY

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  (addresses to recognise)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a service runs.

    Attributes
    ----------
    host, port
        Where it listens.
    token
        Token that clients must send; loopback needs none.
    tokens
        Or a file that says whose tokens may do what, see `mrdist.service.tokens`.
    allowed_hosts
        Further host names that clients may use.
    trusted_proxies
        Addresses or networks of proxies, whose word is taken for who their clients are.
    access_log
        File for a line of JSON about every request.
    workers, scheduler
        Workers of a job, as in `mrdist.train`.
    max_running
        Maximum number of jobs that run at once; others wait.
    max_memory
        Largest memory limit of a worker process that a job may request, in bytes, and the default.
    requests_per_second
        Limit of one client; event streams do not count.
    max_body_bytes, max_upload_bytes
        Largest request of JSON, and of one with photographs.
    """

    host: str = "127.0.0.1"
    port: int = 8899
    token: str | None = field(default=None, repr=False)
    tokens: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    access_log: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    max_running: int = 1
    max_memory: int = DEFAULT_MEMORY
    requests_per_second: float = 100.0
    max_body_bytes: int = 1 << 20
    max_upload_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if self.token is not None and self.tokens is not None:
            raise ParameterError(
                f"a token for all and the tokens of {self.tokens} exclude each other; give either --token-file (or "
                "MRDIST_TOKEN) or --tokens."
            )
        if self.token is None and self.tokens is None and self.host not in LOOPBACK:
            raise ParameterError(
                f"anyone who reaches {self.host} could use the service without a token; give --token-file or --tokens, "
                "or leave --host at 127.0.0.1."
            )
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ParameterError(
                    f"{proxy[:80]!r} is not the address or network of a proxy; give one such as 127.0.0.1."
                ) from None
        if self.workers is not None and self.scheduler is not None:
            raise ParameterError(f"give either workers ({self.workers}) or a scheduler ({self.scheduler}), not both.")
        if self.workers is not None and self.workers < 0:
            raise ParameterError(f"workers must be 0 (a job's own process) or more, got {self.workers}.")
        if self.max_running < 1:
            raise ParameterError(f"max_running must be at least 1, got {self.max_running}.")
        if not self.requests_per_second > 0:
            raise ParameterError(f"requests_per_second must be positive, got {self.requests_per_second:g}.")

    @property
    def anywhere(self) -> bool:
        """Whether it listens on all addresses of the machine."""
        return self.host in _ANYWHERE
