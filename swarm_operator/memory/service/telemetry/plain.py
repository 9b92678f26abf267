"""Counters and histograms that are plain numbers until a scrape reads them.

prometheus_client takes a lock and calls four functions for each event. The events of requests and commits all occur on
the event loop, so they need no lock. The scrape reads the numbers on a thread and renders the same page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Observations:
    """Numbers of one histogram series.

    Args:
        bounds: upper bounds of the buckets, ascending; a last bucket holds what is above them.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Count an amount."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.total += amount


class PlainHistogram(Collector):
    """Histogram with one label, or without labels.

    Args:
        name: name of the metric.
        documentation: its HELP text.
        bounds: see Observations.
        label: name of the label; None: the histogram has a single series.
        registry: registry that collects the histogram.
    """

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], *, registry: CollectorRegistry,
        label: str | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._documentation = documentation
        self._bounds: Final = tuple(map(float, bounds))
        self._labels = () if label is None else (label,)
        self._series: dict[tuple[str, ...], Observations] = {}
        if label is None:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Observations:
        """Return the series with these values of the labels. The series exists from now on."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Observations(self._bounds)
        return series

    def describe(self) -> Iterable[Metric]:
        """Return the metric without its samples."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.copy().items():
            counts, total = series.counts.copy(), series.total
            below = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
                below += count
                buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
            family.add_metric(values, buckets, total)
        yield family


class PlainCounter(Collector):
    """Counter with labels.

    Args:
        name: name of the metric, without `_total`.
        documentation: its HELP text.
        labels: names of the labels.
        registry: registry that collects the counter.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self.counts: dict[tuple[str, ...], int] = {}
        """Counts by the values of the labels."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the metric without its samples."""
        return [CounterMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self.counts.copy().items():
            family.add_metric(values, count)
        yield family
