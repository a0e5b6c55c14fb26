"""Is the gateway alive, ready, and how busy?"""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from gateway.assemble import Parts
from gateway.web.devices import Edge
from gateway.web.figures import EdgeFigures
from storage.search import Search
from worklist.errors import Refusal

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What Prometheus is told. Labels are route templates and states: no ids, no names."""

    def __init__(self, parts: Parts, streams: Callable[[], int], edge: Edge | None = None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(EdgeFigures(parts, edge))
        self._parts = parts
        self._requests = Counter(
            "teleread_http_requests",
            "HTTP requests by route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "teleread_http_request_seconds",
            "Time to answer by route.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._tasks = _gauge(self.registry, "teleread_tasks_active", "Open and claimed tasks.")
        self._critical = _gauge(
            self.registry, "teleread_critical_open", "Critical results nobody has confirmed."
        )
        self._jobs = _gauge(self.registry, "teleread_jobs_waiting", "Jobs that wait.")
        self._dead = _gauge(self.registry, "teleread_jobs_dead", "Jobs that were given up.")
        _gauge(self.registry, "teleread_live_streams", "Open live streams.").set_function(streams)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """The page for Prometheus."""
        with self._parts.view() as unit:
            waiting, dead = unit.jobs.counts()
            sites = frozenset(unit.people.sites())
            active = Search(unit.connection).counts(sites, "")["all"]
            critical = len(unit.criticals.open_at(sites))
        self._jobs.set(waiting)
        self._dead.set(dead)
        self._tasks.set(active)
        self._critical.set(critical)
        return generate_latest(self.registry)


def routes(parts: Parts, metrics: Metrics) -> APIRouter:
    """/healthz, /readyz and /metrics, for machines."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_class=PlainTextResponse)
    def alive() -> str:
        """Whether the process answers."""
        return "ok\n"

    @router.get("/readyz", response_class=PlainTextResponse)
    def ready() -> Response:
        """Whether index and objects can be reached."""
        try:
            with parts.view() as unit:
                unit.facts.position()
        except (SQLAlchemyError, Refusal):
            return PlainTextResponse("the index cannot be reached\n", 503)
        try:
            parts.objects.require_room()
        except Refusal:
            pass  # a full disk refuses new studies; reading and signing go on
        except OSError:
            return PlainTextResponse("the objects cannot be reached\n", 503)
        return PlainTextResponse("ready\n")

    @router.get("/metrics", response_class=PlainTextResponse)
    def figures() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _gauge(registry: CollectorRegistry, name: str, sentence: str) -> Gauge:
    return Gauge(name, sentence, registry=registry)
