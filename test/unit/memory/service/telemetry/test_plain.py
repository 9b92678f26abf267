"""Plain counters and histograms render as those of prometheus_client."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from swarm_operator.memory.service.telemetry.metrics import PlainCounter, PlainHistogram

BOUNDS = (0.25, 1, 2.5)
AMOUNTS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0.25, 0.5, 1, 1.5, 2.5, 1000])))


@given(amounts=AMOUNTS)
def test_a_histogram_renders_as_that_of_the_library(amounts):
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    labelled = Histogram("h", "Help.", ["kind"], buckets=BOUNDS, registry=theirs)
    single = Histogram("s", "More.", buckets=BOUNDS, registry=theirs)
    plain = PlainHistogram("h", "Help.", BOUNDS, label="kind", registry=ours)
    alone = PlainHistogram("s", "More.", BOUNDS, registry=ours).labels()
    for kind, amount in amounts:
        labelled.labels(kind).observe(amount)
        plain.labels(kind).observe(amount)
        single.observe(amount)
        alone.observe(amount)
    assert generate_latest(ours) == without_created(generate_latest(theirs))


@given(events=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from('xy"\\'))))
def test_a_counter_renders_as_that_of_the_library(events):
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("c_total", "Help.", ["kind", "code"], registry=theirs)
    plain = PlainCounter("c", "Help.", ["kind", "code"], registry=ours)
    for event in events:
        counter.labels(*event).inc()
        plain.counts[event] = plain.counts.get(event, 0) + 1
    assert generate_latest(ours) == without_created(generate_latest(theirs))


def without_created(page):
    """The page without `_created` series, which the service switches off for the whole process."""
    return b"".join(line for line in page.splitlines(keepends=True) if b"_created" not in line)
