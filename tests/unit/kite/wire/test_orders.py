import json
from datetime import UTC, datetime

import pytest

from connector import OrderStatus, OrderTransactionType, OrderValidity
from connector.kite.wire.orders import SeenUpdates, parse_order

PAYLOAD = {
    "user_id": "AB1234", "unfilled_quantity": 0, "app_id": 1234, "checksum": "", "placed_by":
    "AB1234", "order_id": "220303000308932", "exchange_order_id": "1000000001482421",
    "parent_order_id": None, "status": "COMPLETE", "status_message": None, "order_timestamp":
    "2022-03-03 09:24:25", "exchange_update_timestamp": "2022-03-03 09:24:25",
    "exchange_timestamp": "2022-03-03 09:24:25", "variety": "regular", "exchange": "NSE",
    "tradingsymbol": "SBIN", "instrument_token": 779521, "order_type": "MARKET",
    "transaction_type": "BUY", "validity": "DAY", "product": "CNC", "quantity": 1,
    "disclosed_quantity": 0, "price": 0, "trigger_price": 0, "average_price": 470,
    "filled_quantity": 1, "pending_quantity": 0, "cancelled_quantity": 0,
    "market_protection": 0, "meta": {}, "tag": None, "guid": "XXXXXX",
}  # fmt: skip


def test_the_documented_payload():
    order = parse_order(PAYLOAD)
    assert order.order_id == "220303000308932"
    assert order.status is OrderStatus.COMPLETE
    assert order.transaction_type is OrderTransactionType.BUY
    assert order.validity is OrderValidity.DAY
    assert (order.quantity, order.filled_quantity, order.average_price) == (1, 1, 470.0)
    # 09:24:25 in India is 03:54:25 UTC, not 09:24:25 UTC
    assert order.order_timestamp == datetime(2022, 3, 3, 3, 54, 25, tzinfo=UTC)
    assert order.exchange_timestamp == order.order_timestamp
    assert order.exchange_update_timestamp == order.order_timestamp
    assert (order.placed_by, order.guid, order.algo_id) == ("AB1234", "XXXXXX", None)
    assert (order.disclosed_quantity, order.market_protection, order.meta) == (0, 0.0, {})
    assert order.status_message_raw is None
    assert order.payload == PAYLOAD


def test_meta_is_an_object_or_nothing():
    meta = {"iceberg": {"leg": 1, "legs": 3}}
    assert parse_order({**PAYLOAD, "meta": meta}).meta == meta
    for odd in (None, "text", [1], 5):
        assert parse_order({**PAYLOAD, "meta": odd}).meta is None


def test_an_order_that_never_reached_the_exchange():
    order = parse_order({**PAYLOAD, "status": "REJECTED", "exchange_timestamp": None})
    assert order.status is OrderStatus.REJECTED
    assert order.exchange_timestamp is None


def test_an_empty_payload_and_unknown_words_are_no_error():
    order = parse_order({})
    assert (order.order_id, order.quantity, order.order_timestamp) == ("", None, None)
    assert order.status is OrderStatus.UNKNOWN
    order = parse_order({"status": "LAPSED", "validity": "GTC", "transaction_type": "HOLD"})
    assert order.validity is OrderValidity.UNKNOWN
    assert order.payload["status"] == "LAPSED"


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("quantity", "12", 12),
        ("quantity", "many", None),
        ("quantity", True, None),
        ("quantity", float("nan"), None),
        ("quantity", 10**400, None),
        ("quantity", 2**63, None),
        ("quantity", -1e300, None),
        ("tag", "half \ud800", "half ?"),
        ("quantity", [1], None),
        ("price", "1.5", 1.5),
        ("price", float("inf"), None),
        ("tag", {"a": 1}, None),
        ("tag", 7, "7"),
        ("order_timestamp", "yesterday", None),
        ("order_timestamp", 1646279665, None),
        ("order_timestamp", "0001-01-01 00:00:00", None),
        ("order_timestamp", "2022-03-03T09:24:25Z", datetime(2022, 3, 3, 9, 24, 25, tzinfo=UTC)),
    ],
)
def test_odd_values(name, value, read):
    assert getattr(parse_order({**PAYLOAD, name: value}), name) == read


def frame(**changes):
    return json.dumps({"type": "order", "data": {**PAYLOAD, **changes}})


class TestDeduplicator:
    def test_copies_are_seen_and_updates_are_not(self):
        orders = SeenUpdates()
        assert not orders.seen(frame(status="UPDATE", filled_quantity=0))
        assert orders.seen(frame(status="UPDATE", filled_quantity=0))
        assert not orders.seen(frame(status="UPDATE", filled_quantity=1))
        assert not orders.seen(frame(order_id="2"))
        assert orders.seen(frame(order_id="2"))
        assert orders.duplicates == 2

    def test_the_frame_and_its_payload_are_one_update(self):
        orders = SeenUpdates()
        assert not orders.seen(frame())
        assert orders.seen(json.dumps(PAYLOAD))

    def test_the_order_of_keys_is_no_difference(self):
        orders = SeenUpdates()
        assert not orders.seen('{"order_id": "1", "status": "UPDATE"}')
        assert orders.seen('{"status":"UPDATE","order_id":"1"}')

    def test_memory_is_bounded_and_the_oldest_are_forgotten(self):
        orders = SeenUpdates(capacity=2)
        for order_id in "123":
            assert not orders.seen(frame(order_id=order_id))
        assert orders.seen(frame(order_id="3"))
        assert not orders.seen(frame(order_id="1"))

    @pytest.mark.parametrize("text", ["", "no json", "[1]", "null", '{"data": 1}', "\ud800"])
    def test_anything_is_taken(self, text):
        orders = SeenUpdates()
        assert not orders.seen(text)
        assert orders.seen(text)
