"""Says in the log which metrics have no values, and when they have some again.

A Sink in front of another. One failure is everyday; from the third in a row on, when the metric counts as missing, nothing scales down for it, which
somebody should know. Each reason is told once, until there is a value. Neighbours: `signals` puts it before the collector.
"""

import logging
from collections.abc import Collection

from autoscaler.signals.asked import Sink

logger = logging.getLogger(__name__)

_TOLD_AT = 3
"""Failures in a row: a sample holds for as many intervals."""


class ToldSink:
    """Passes everything on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._failures: dict[tuple[str, str], int] = {}
        """In a row, by Backend and metric."""

    def sample(self, backend: str, metric: str, value: float, now: float) -> None:
        self._sink.sample(backend, metric, value, now)
        if self._failures.pop((backend, metric), 0) >= _TOLD_AT:
            logger.info("%s: %s has values again", backend, metric)

    def failed(self, backend: str, metric: str, reason: str, now: float) -> None:
        self._sink.failed(backend, metric, reason, now)
        times = self._failures[backend, metric] = self._failures.get((backend, metric), 0) + 1
        if times == _TOLD_AT:
            logger.warning("%s: no data from %s, so nothing scales down: %s", backend, metric, reason)

    def renew(self, backend: str, metric: str) -> None:
        self._sink.renew(backend, metric)

    def keep(self, backend: str, metrics: Collection[str]) -> None:
        """Only these are measured for it from now on."""
        for key in [key for key in self._failures if key[0] == backend and key[1] not in metrics]:
            del self._failures[key]

    def __repr__(self) -> str:
        missing = sum(times >= _TOLD_AT for times in self._failures.values())
        return f"<ToldSink {missing} missing, to {self._sink!r}>"
