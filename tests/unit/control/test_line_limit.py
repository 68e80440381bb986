import structlog
from structlog.testing import capture_logs

from connector.control.line_limit import LineLimit
from connector.testing import FakeClock


def test_the_first_lines_of_a_span_are_written_and_the_rest_counted():
    clock = FakeClock()
    with capture_logs() as lines:
        limit = LineLimit(structlog.get_logger(), lines=2, seconds=10, clock=clock)
        for n in range(5):
            limit.write("warning", "rejected", n=n)
        limit.write("info", "other")
        clock.now += 9.9
        limit.turn()
        assert [line["event"] for line in lines] == ["rejected", "rejected", "other"]
        clock.now = 1010.0
        limit.turn()
        limit.turn()
        limit.write("warning", "rejected", n=6)
    assert [(line["event"], line.get("of"), line.get("count")) for line in lines[3:]] == [
        ("log_lines_left_out", "rejected", 3),
        ("rejected", None, None),
    ]
