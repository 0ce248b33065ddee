"""Metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.service.security import API

_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counts of one service.

    Parameters
    ----------
    jobs
        Returns how many jobs that have not ended are in each state.
    """

    def __init__(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("mrdist_requests", "Answered requests.", labels, registry=self._registry)
        self._seconds = Histogram(
            "mrdist_request_seconds",
            "Seconds until the answer began.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Queue(jobs))
        ProcessCollector(registry=self._registry)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all counts as Prometheus reads them."""
        return generate_latest(self._registry)


class _Queue(Collector):
    """Jobs that have not ended, as the supervisor saw them last."""

    def __init__(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        self._jobs = jobs

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the jobs by state."""
        gauge = GaugeMetricFamily("mrdist_jobs", "Jobs that have not ended.", labels=("state",))
        counts = self._jobs()
        for state in ("queued", "running", "stopping"):
            gauge.add_metric([state], counts.get(state, 0))
        return [gauge]


def _route_of(scope: Scope) -> str:
    """Return the route of a request: one of few, whatever clients request."""
    path: str = getattr(scope.get("route"), "path", "none")
    if not path.startswith("/") or path.startswith(f"{API}/"):  # with the prefix of its router, or without it
        return path
    return f"{API}{path}" if scope["path"].startswith(f"{API}/") else path


class Meter:
    """Counts every request.

    Parameters
    ----------
    app
        The application.
    metrics
        The counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _route_of(scope)
                self._metrics.note(scope["method"], route, message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, note)
