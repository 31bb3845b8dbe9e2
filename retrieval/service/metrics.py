"""What the service counts of itself, in the format of Prometheus."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.service.service import Service

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counts requests by method, route and status, and how long they took."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfService(service))
        names, registry = ("method", "route"), self._registry
        self._requests = Counter(
            "requests", "Requests that were answered.", (*names, "status"), registry=registry
        )
        self._seconds = Histogram(
            "request_seconds",
            "How long they took.",
            names,
            buckets=SECONDS,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def counted(self, app: ASGIApp) -> ASGIApp:
        """The same application, counted."""

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started, status = time.perf_counter(), 500

            async def sending(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._requests.labels(method, route, str(status)).inc()
                self._seconds.labels(method, route).observe(time.perf_counter() - started)

        return counting


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class _OfService(Collector):
    """What is looked up when it is asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        yield GaugeMetricFamily("items", "Items of the store.", len(service.snapshot.catalogue))
        thumbnails = service.thumbnails
        yield GaugeMetricFamily("thumbnails", "Thumbnails that are kept.", len(thumbnails))
        yield GaugeMetricFamily("thumbnail_bytes", "Bytes of them.", thumbnails.num_bytes)
        yield CounterMetricFamily("thumbnails_made", "Thumbnails made.", thumbnails.num_made)
        yield CounterMetricFamily("thumbnails_found", "Found again.", thumbnails.num_found)
        batches = CounterMetricFamily("batches", "Batches encoded.", labels=("encoder",))
        inputs = CounterMetricFamily("batch_inputs", "Queries in them.", labels=("encoder",))
        for name, encoder in service.encoders.loaded.items():
            batches.add_metric([name], encoder.encode.num_batches)
            inputs.add_metric([name], encoder.encode.num_inputs)
        yield from (batches, inputs)
