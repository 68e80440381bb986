import io
import re

import pytest
from rich.console import Console

from connector.cli.terminal_view import (
    Hint,
    Price,
    View,
    accounting_line,
    accounting_table,
    total_accounting,
)
from connector.service.status import Accounting, ConnectionStatus
from tests.support.status import service_status
from tests.unit.cli.test_tail_lines import TICK


def shown(view, width=80, height=24):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(view)
    return out.getvalue().splitlines()


def view(**changes):
    prices = [Price(f"SYMBOL {number}") for number in range(12)]
    prices[0].apply(TICK)
    values = {
        "title": "Kite → Kafka",
        "statuses": [service_status()],
        "prices": prices,
        "hints": [Hint("status", "http://127.0.0.1:8090/status"), Hint("end", "Ctrl-C")],
        "elapsed_seconds": 12.3,
        "duration_seconds": 20.0,
    }
    return View(**{**values, **changes})


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("height", [24, 40])
def test_it_fits_the_terminal(width, height):
    lines = shown(view(), width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= min(width, 110)


def test_everything_is_on_it():
    text = "\n".join(shown(view()))
    for part in [
        "12 s of 20", "native codec", "ready", "connected", "2999/3000", "no token",
        "NSE", "NFO", "1,573.15", "+0.34 %", "104", "90", "p99 < 500 ms", "p99 < ∞",
        "http://127.0.0.1:8090/status",
    ]:  # fmt: skip
        assert part in text, part


def test_a_small_terminal_loses_empty_lines_first():
    assert "" in [line.strip() for line in shown(view(), height=40)]
    assert "" not in [line.strip() for line in shown(view(), height=24)]


def test_not_ready_says_why_while_there_is_no_connection():
    waiting = service_status(connections=(), not_ready=("waiting for Kafka: refused",))
    text = "\n".join(shown(view(statuses=[waiting])))
    assert "not ready" in text
    assert "waiting for Kafka: refused" in text


def test_a_slot_that_somebody_halted_says_so():
    status = service_status(
        connections=(ConnectionStatus(1, "main", "connected"),),
        cluster={"slots": {"0": {"halt": "stopped"}, 1: {"halt": "paused"}, "2": {"halt": None}}},
    )
    text = "\n".join(shown(view(statuses=[status])))
    assert re.search(r"\b0 +stopped", text)
    assert re.search(r"\b1 +paused", text)
    assert " connected" not in text


@pytest.mark.parametrize(
    "slots", [[], {"x": {"halt": "stopped"}}, {"0": "stopped"}, {"0": {"halt": ["stopped"]}}]
)
def test_another_programs_cluster_is_not_shown(slots):
    status = service_status(connections=(), cluster={"slots": slots})
    assert "stopped" not in "\n".join(shown(view(statuses=[status])))


def test_a_warning_of_the_log_is_the_last_line():
    assert shown(view(notice="[warning] disconnected"))[-1].startswith("[warning] disconnected")


def test_replicas_share_the_screen():
    def owning(slot):
        return service_status(connections=(ConnectionStatus(slot, "main", "connected"),))

    lines = shown(view(statuses=[owning(2), owning(0)], roles=["leader", ""]))
    text = "\n".join(lines)
    assert "replica" in text
    assert text.index("0    1") < text.index("2    0 leader")
    assert "208" in text, "received by both"


def test_a_price_goes_up_and_down():
    price = Price("INFY")
    assert price.change is None
    assert price.text == ""
    directions = []
    for last in (10.0, 11.0, 11.0, 10.5):
        price.apply({"last_price": last, "exchange": "NSE", "ohlc": None})
        directions.append(price.direction)
    assert directions == [0, 1, 1, -1]
    assert price.change is None


def test_currencies_have_four_decimals():
    price = Price("USDINR")
    price.apply({"last_price": 83.1234, "exchange": "CDS", "ohlc": None})
    assert price.text == "83.1234"


def test_the_books_of_all():
    one = Accounting(10, 5, 2, 1, 1, {"a": 1})
    both = [service_status(accounting=one)] * 2
    assert total_accounting(both) == Accounting(20, 10, 4, 2, 2, {"a": 2})
    assert accounting_line(one) == (
        "received 10 = delivered 5 + in flight 2 + spooled 1 + dead letters 1 + dropped 1"
    )


def test_books_that_do_not_add_up_are_marked():
    wrong = Accounting(11, 5)
    assert "does not add up" in accounting_line(wrong)
    assert "does not add up" in "\n".join(shown(accounting_table(wrong), width=100))
