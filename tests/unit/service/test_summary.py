from connector.service.status import Accounting, ExchangeStatus
from connector.service.summary import Summary
from tests.support.status import service_status


def test_a_line_says_what_came_since_the_last_one():
    summary = Summary()
    first = summary.line(service_status(uptime_seconds=10.0))
    assert (first["ticks"], first["ticks_per_second"], first["received"]) == (98, 9.8, 104)
    assert (first["connections"], first["connected"]) == (2, 1)
    assert (first["instruments"], first["confirmed"]) == (3000, 2999)
    later = service_status(
        uptime_seconds=70.0,
        exchanges=(ExchangeStatus("NSE", "kite.ticks.nse", 698, 10.0),),
        accounting=Accounting(
            received=704, delivered=698, in_flight=2, spooled=1, dropped={"spool_full": 3}
        ),
    )
    second = summary.line(later)
    assert (second["ticks"], second["ticks_per_second"]) == (600, 10.0)
    assert (second["received"], second["delivered"], second["dropped"]) == (600, 608, 0)
    assert (second["in_flight"], second["spooled"]) == (2, 1)


def test_a_service_that_only_starts_has_a_line_too():
    line = Summary().line(service_status(uptime_seconds=0.0, connections=(), exchanges=()))
    assert (line["ticks"], line["ticks_per_second"], line["connected"]) == (0, 0.0, 0)
