"""What is measured of the service, as Prometheus reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterator, Sequence
from functools import cache
from typing import Any

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plainnet.service.drift import Drift
from plainnet.service.models import Model
from plainnet.service.rows import Row

__all__ = ["CONTENT_TYPE", "Metrics", "measured"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Seconds.
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Of a table of one request, so many rows at most are looked at for drift: the rest tells little more.
MOST_LOOKED_AT = 10_000


class Metrics(Collector):
    """The counters of one service, and what its rows look like."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("plainnet_requests", "Requests by route and status.", ["route", "status"], **own)
        self.seconds = Histogram(
            "plainnet_request_seconds", "Seconds from the headers to the end of the answer.", ["route"], buckets=LATENCIES, **own
        )  # fmt: skip
        self.rows = Counter("plainnet_rows", "Rows predicted.", ["model"], **own)
        self.batch_rows = Histogram(
            "plainnet_batch_rows", "Rows that were predicted together, of small requests.", buckets=[2**n for n in range(9)], **own
        )  # fmt: skip
        self.reloads = Counter("plainnet_model_reloads", "Model files that were read anew.", ["model", "result"], **own)
        self.loaded = Gauge(
            "plainnet_model_loaded_timestamp_seconds", "When the model in use was read.", ["model"], **own
        )
        self.drifts: dict[str, Drift] = {}
        self._lock = threading.Lock()
        self.registry.register(self)

    def begin(self, model: Model) -> None:
        """Count a model's rows against its schema, from now on."""
        with self._lock:
            self.drifts[model.name] = Drift(model.estimator.schema_, model.intake.table_of)
        self.loaded.labels(model.name).set_to_current_time()

    def predicted(self, model: Model, rows: Sequence[Row] | pl.DataFrame) -> None:
        """Count the rows of a prediction; those of a model that was replaced meanwhile are not looked at."""
        self.rows.labels(model.name).inc(len(rows))
        with self._lock:
            drift = self.drifts.get(model.name)
            if drift is not None and drift.schema is model.estimator.schema_:
                drift.add(rows[:MOST_LOOKED_AT])

    def page(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what is known of the cells, counted when it is asked for."""
        labels = ["model", "column"]
        totals = {
            "missing": CounterMetricFamily("plainnet_missing_cells", "Cells without a value.", labels=labels),
            "unseen": CounterMetricFamily("plainnet_unseen_cells", "Cells with a level no training row had.", labels=labels),
        }  # fmt: skip
        said = {
            "missing": "without a value", "unseen": "with a level no training row had", "beyond": "beyond the training rows' range",
        }  # fmt: skip
        shares = {
            name: GaugeMetricFamily(f"plainnet_column_{name}_share", f"Share of the last rows {text}.", labels=labels)
            for name, text in said.items()
        }
        psi = GaugeMetricFamily("plainnet_column_psi", "Population stability index of the last rows.", labels=labels)
        with self._lock:
            for model, drift in self.drifts.items():
                drift.count()
                for name, seen in drift.totals.items():
                    for what, total in totals.items():
                        total.add_metric([model, name], getattr(seen, what))
                recent = drift.recent()
                for column in drift.schema.used if recent else ():
                    cells = recent[column.name]
                    for what, share in shares.items():
                        share.add_metric([model, column.name], getattr(cells, what) / cells.rows)
                    if (index := drift.psi(column, cells)) is not None:
                        psi.add_metric([model, column.name], index)
        yield from (*totals.values(), *shares.values(), psi)


def measured(app: ASGIApp, metrics: Metrics, routes: Container[str]) -> ASGIApp:
    """Count each request by its route and the status of its answer; a path that is no route is 'other'."""
    counter, clock = cache(metrics.requests.labels), cache(metrics.seconds.labels)  # to look them up takes microseconds

    async def app_with_clock(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await app(scope, receive, send_and_look)
        finally:
            route = scope["path"] if scope["path"] in routes else "other"
            counter(route, str(status)).inc()
            clock(route).observe(time.perf_counter() - began)

    return app_with_clock
