import json
from dataclasses import replace

from connector.service.status import Accounting, ConnectionStatus
from tests.support.status import service_status


def test_the_books_balance_or_not():
    assert Accounting(10, 4, 3, 2, 0, {"a": 1}).balanced
    assert not Accounting(10, 4, 3, 2, 0, {"a": 2}).balanced
    assert Accounting(0, dropped={"a": 1, "b": 2}).total_dropped == 3


def test_the_document_is_json():
    document = json.loads(json.dumps(service_status().as_json(), allow_nan=False))
    assert document["ready"] is True
    assert document["accounting"]["balanced"] is True
    assert document["connections"][0]["confirmed"] == 2999
    assert document["exchanges"][0]["topic"] == "kite.ticks.nse"
    assert document["ticks_per_second"] == 12.5
    latency = document["latency_seconds"]
    assert latency["exchange_to_receive"] == {"count": 1, "p50_below": 0.5, "p99_below": 0.5}
    assert latency["receive_to_produce"] == {"count": 1, "p50_below": None, "p99_below": None}
    assert latency["produce_to_ack"] == {"count": 1, "p50_below": 0.005, "p99_below": 0.005}
    producer = document["producer"]
    assert (producer["queue_peak"], producer["spool_peak_bytes"]) == (70, 800)


def test_a_reason_makes_it_not_ready():
    assert not service_status(not_ready=("no broker",)).ready


def test_a_market_without_names_is_counted():
    names = [f"NSE:X{number}: not in the instrument master" for number in range(1001)]
    document = service_status(unresolved=names).as_json()
    assert document["unresolved"] == names[:1000]
    assert document["unresolved_count"] == 1001


def test_an_error_that_is_over_is_no_present_trouble():
    """A connection that is open has only what is wrong with it now."""
    over = ConnectionStatus(0, "main", "connected", last_error="HTTP 503")
    assert over.present_trouble is None
    assert replace(over, state="backing_off").present_trouble == "HTTP 503"
    assert replace(over, trouble="no ticks for 60 s").present_trouble == "no ticks for 60 s"
