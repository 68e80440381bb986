import math

from connector.kafka.histogram import Histogram


def test_values_fall_into_the_bucket_of_their_upper_bound():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert histogram.count == 4
    assert histogram.total == 5.5
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]


def test_what_was_counted_elsewhere_is_added():
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.5)
    histogram.add([3, 0, 1], 12.0)
    assert histogram.counts == [3, 1, 1]
    assert histogram.total == 13.5


def test_quantiles_are_bounds():
    histogram = Histogram((1.0, 2.0, 4.0))
    assert histogram.quantile(0.5) is None
    for value in (0.5, 0.5, 0.5, 1.5):
        histogram.observe(value)
    assert histogram.quantile(0.5) == 1.0
    assert histogram.quantile(0.99) == 2.0
    histogram.observe(9.0)
    assert histogram.quantile(1.0) == math.inf
