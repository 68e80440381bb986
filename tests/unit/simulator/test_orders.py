import pytest

from connector.kite.wire.models import OrderStatus
from connector.kite.wire.orders import parse_order
from connector.simulator.access import RefusedError
from connector.simulator.orders import OrderBook

NOW = 1_788_252_000.0
FORM = {
    "exchange": "NSE",
    "tradingsymbol": "INFY",
    "transaction_type": "BUY",
    "order_type": "MARKET",
    "product": "CNC",
    "quantity": "10",
}


def place(book, variety="regular", **changes):
    form = {name: value for name, value in (FORM | changes).items() if value is not None}
    return book.place(
        variety, form, user_id="SIM001", instrument_token=408065, last_price=1500.0, now=NOW
    )


def statuses(updates):
    return [update["status"] for update in updates]


def test_a_market_order_fills_at_once():
    book = OrderBook()
    updates = place(book)
    assert statuses(updates) == ["OPEN", "COMPLETE"]
    assert updates[0]["filled_quantity"] == 0, "an update is a snapshot, not the order itself"
    done = updates[1]
    assert (done["filled_quantity"], done["pending_quantity"], done["average_price"]) == (
        10,
        0,
        1500,
    )
    assert book.of_user("SIM001") == [done]
    assert book.of_user("other") == []
    assert book.history[done["order_id"]] == updates


def test_updates_are_what_the_connector_reads():
    order = parse_order(place(OrderBook())[-1])
    assert order.status is OrderStatus.COMPLETE
    assert order.instrument_token == 408065
    assert order.order_timestamp.timestamp() == NOW
    assert order.exchange_timestamp.timestamp() == NOW


def test_a_limit_order_waits_for_its_price_and_may_fill_in_parts():
    book = OrderBook()
    (opened,) = place(book, order_type="LIMIT", price="1490")
    order_id = opened["order_id"]
    (part,) = book.fill(order_id, price=1490.0, now=NOW, quantity=4)
    assert (part["status"], part["filled_quantity"], part["pending_quantity"]) == ("UPDATE", 4, 6)
    (rest,) = book.fill(order_id, price=1480.0, now=NOW)
    assert (rest["status"], rest["average_price"]) == ("COMPLETE", 1484.0)
    with pytest.raises(RefusedError):
        book.fill(order_id, price=1480.0, now=NOW)


def test_a_limit_order_whose_price_is_met_fills():
    assert statuses(place(OrderBook(), order_type="LIMIT", price="1501"))[-1] == "COMPLETE"
    sell = {"transaction_type": "SELL", "order_type": "LIMIT"}
    assert statuses(place(OrderBook(), **sell, price="1499"))[-1] == "COMPLETE"
    assert statuses(place(OrderBook(), **sell, price="1501")) == ["OPEN"]


def test_cancelling():
    book = OrderBook()
    (opened,) = place(book, order_type="LIMIT", price="1490")
    (cancelled,) = book.cancel(opened["order_id"], now=NOW)
    assert (cancelled["status"], cancelled["cancelled_quantity"]) == ("CANCELLED", 10)
    with pytest.raises(RefusedError):
        book.cancel(opened["order_id"], now=NOW)
    with pytest.raises(RefusedError):
        book.cancel("unknown", now=NOW)


def test_immediate_or_cancel():
    updates = place(OrderBook(), order_type="LIMIT", price="1490", validity="IOC")
    assert statuses(updates) == ["OPEN", "CANCELLED"]


def test_a_rejected_order_never_reached_the_exchange():
    (rejected,) = place(OrderBook(), quantity="100000")
    assert rejected["status"] == "REJECTED"
    assert rejected["exchange_timestamp"] is None
    assert rejected["exchange_order_id"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"transaction_type": "HOLD"},
        {"order_type": None},
        {"product": ""},
        {"validity": "FOREVER"},
        {"quantity": "0"},
        {"quantity": "many"},
        {"quantity": None},
        {"order_type": "LIMIT", "price": None},
        {"order_type": "LIMIT", "price": "nan"},
        {"variety": "strange"},
    ],
)
def test_wrong_parameters(wrong):
    with pytest.raises(RefusedError) as refused:
        place(OrderBook(), **wrong)
    assert (refused.value.status, refused.value.error_type) == (400, "InputException")
