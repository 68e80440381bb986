import random

import pytest

from connector.kafka.ack_latency import BOUNDS, AckLatency, window
from connector.kafka.histogram import Histogram

PERCENTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_99": 0.9999}
NOTHING = dict.fromkeys(("min", "max", "sum", "cnt", "outofrange", *PERCENTILES), 0)


def statistics(values_us, reach_us=10**9, **changes):
    """A window as librdkafka tells it: what lies beyond its histogram's reach is only counted."""
    inside = sorted(value for value in values_us if value <= reach_us)
    found = {
        name: inside[min(len(inside) - 1, int(share * len(inside)))] if inside else 0
        for name, share in PERCENTILES.items()
    }
    return {
        "min": min(values_us), "max": max(values_us), "sum": sum(values_us),
        "cnt": len(values_us), "outofrange": len(values_us) - len(inside), **found, **changes,
    }  # fmt: skip


def broker(waited, answered, written=NOTHING):
    return {"int_latency": waited, "outbuf_latency": written, "rtt": answered}


def true_histogram(values_us):
    histogram = Histogram(BOUNDS)
    for value in values_us:
        histogram.observe(value / 1e6)
    return histogram


@pytest.mark.parametrize("seed", range(5))
def test_it_is_close_to_what_each_record_would_tell(seed):
    """Waits of some milliseconds with a long tail, in three hundred windows."""
    rng = random.Random(seed)
    latency, everything = AckLatency(), []
    for _ in range(300):
        waits = [rng.uniform(20, 5_000) + rng.expovariate(1 / 800) for _ in range(400)]
        latency.observe({"1": broker(statistics(waits), statistics([2_000] * 8))})
        everything += [wait + 2_000 for wait in waits]
    found, expected = latency.histogram, true_histogram(everything)
    assert found.count == expected.count
    assert found.total == pytest.approx(expected.total)
    for (_, some), (_, exact) in zip(found.cumulative(), expected.cumulative(), strict=True):
        # of the quicker half librdkafka tells nothing but the quickest
        tolerance = 0.05 if exact < expected.count / 2 else 0.01
        assert some == pytest.approx(exact, abs=tolerance * expected.count)


def test_no_record_was_quicker_than_the_quickest_or_slower_than_the_slowest():
    latency = AckLatency()
    latency.observe({"1": broker(statistics([3_000, 4_000]), statistics([100_000]))})
    counts = dict(latency.histogram.cumulative())
    assert (counts["0.1"], counts["0.25"], counts["+Inf"]) == (0, 2, 2)
    assert latency.histogram.total == pytest.approx(0.207)


def test_all_three_parts_add_up():
    latency = AckLatency()
    parts = statistics([5_000] * 4), statistics([2_000] * 2), statistics([1_000] * 2)
    latency.observe({"1": broker(parts[0], parts[1], parts[2])})
    assert latency.histogram.total == pytest.approx(4 * 0.008)
    assert dict(latency.histogram.cumulative())["0.01"] == 4
    assert dict(latency.histogram.cumulative())["0.005"] == 0


def test_brokers_add_up():
    latency = AckLatency()
    quick = broker(statistics([1_000] * 30), statistics([500]))
    slow = broker(statistics([1_000] * 10), statistics([200_000]))
    latency.observe({"1": quick, "2": slow})
    counts = dict(latency.histogram.cumulative())
    assert (counts["0.0025"], counts["0.1"], counts["0.25"]) == (30, 30, 40)


def test_records_wait_for_their_answer():
    """A broker that takes four seconds: no answer in the second in which they were sent."""
    latency = AckLatency()
    latency.observe({"1": broker(statistics([1_000] * 10), NOTHING)})
    latency.observe({"1": broker(NOTHING, NOTHING)})
    assert latency.histogram.count == 0
    latency.observe({"1": broker(NOTHING, statistics([4_000_000]))})
    counts = dict(latency.histogram.cumulative())
    assert (counts["2.5"], counts["5.0"]) == (0, 10)


def test_what_goes_with_its_connection_counts_when_it_is_sent_again():
    latency = AckLatency()
    latency.observe({"1": broker(statistics([1_000] * 10), NOTHING)})
    latency.observe({})
    latency.observe({"1": broker(statistics([3_000_000] * 10), statistics([500]))})
    assert latency.histogram.count == 10
    assert dict(latency.histogram.cumulative())["2.5"] == 0


def test_a_silent_broker_is_not_remembered_for_ever():
    latency = AckLatency()
    for _ in range(1000):
        latency.observe({"1": broker(statistics([1_000]), NOTHING)})
    latency.observe({"1": broker(NOTHING, statistics([500]))})
    assert latency.histogram.count == 60


def test_what_is_too_long_for_librdkafkas_percentiles_is_counted():
    values = [1_000] * 60 + [900_000] * 40
    latency = AckLatency()
    latency.observe({"1": broker(statistics(values, reach_us=128_000), statistics([100]))})
    counts = dict(latency.histogram.cumulative())
    assert counts["0.0025"] == pytest.approx(60, abs=1)
    assert counts["1.0"] == 100
    all_beyond = statistics([3_449_000] * 300, reach_us=128_000)
    latency.observe({"1": broker(all_beyond, statistics([100]))})
    counts = dict(latency.histogram.cumulative())
    assert counts["5.0"] - counts["2.5"] == 300


def test_a_stale_count_of_what_was_too_long_is_no_matter():
    assert window(NOTHING | {"outofrange": 300}) is None
    found = window(statistics([1_000] * 5, outofrange=300))
    assert found.quantile_us(0.5) == 1_000


def test_documents_without_windows_are_nothing():
    latency = AckLatency()
    latency.observe({"1": {"state": "UP", "rtt": {"p50": 10}}})
    latency.observe({"1": broker({"cnt": 7, "p50": 10}, {"cnt": 7, "avg": 10})})
    assert latency.histogram.count == 0
