import json
from datetime import date

import pytest

from connector.kite.wire.models import Mode
from connector.kite.wire.packets import parse_frame
from connector.simulator.config import SimulatorConfig
from connector.simulator.feed import Feed
from connector.simulator.market import Market
from connector.simulator.universe import Universe
from tests.support.simulated import fake_socket, messages

NOW = 1_788_252_000
UNIVERSE = Universe(200, date(2026, 9, 1))
INFY, RELIANCE, NIFTY = 408065, 738561, 256265


def make_feed(**config):
    settings = SimulatorConfig(**({"connect_messages": False} | config))
    return Feed(settings, Market(UNIVERSE, 1, NOW), lambda: NOW + 5)


@pytest.fixture
def feed():
    return make_feed()


@pytest.fixture
def socket(feed):
    socket = fake_socket()
    feed.attach(socket)
    return socket


def ask(feed, socket, action, value):
    feed.request(socket, json.dumps({"a": action, "v": value}))


def ticks(socket):
    return [
        tick
        for frame in messages(socket)
        if isinstance(frame, bytes)
        for tick in parse_frame(frame)
    ]


def seen(socket):
    return [(tick.instrument_token, tick.mode) for tick in ticks(socket)]


def test_the_undocumented_frames_come_at_connect():
    feed, socket = make_feed(connect_messages=True), fake_socket()
    feed.attach(socket)
    meta, code = map(json.loads, messages(socket))
    assert meta["type"] == "instruments_meta"
    assert meta["data"]["count"] == 200
    assert code == {"type": "app_code"}


def test_a_subscription_begins_with_a_quote_packet(feed, socket):
    ask(feed, socket, "subscribe", [INFY, NIFTY])
    assert seen(socket) == [(INFY, Mode.QUOTE), (NIFTY, Mode.QUOTE)]
    assert socket.subscriptions == {INFY: "quote", NIFTY: "quote"}


def test_modes_show_with_the_next_update(feed, socket):
    ask(feed, socket, "subscribe", [INFY, RELIANCE, NIFTY])
    ask(feed, socket, "mode", ["full", [INFY, NIFTY, 4711]])
    ask(feed, socket, "mode", ["ltp", [RELIANCE]])
    messages(socket)
    assert feed.emit(3) == [INFY, RELIANCE, NIFTY]
    assert seen(socket) == [(INFY, Mode.FULL), (RELIANCE, Mode.LTP), (NIFTY, Mode.FULL)]
    assert 4711 not in socket.subscriptions


def test_a_subscription_again_brings_the_snapshot_again_and_keeps_the_mode(feed, socket):
    ask(feed, socket, "subscribe", [INFY])
    ask(feed, socket, "mode", ["full", [INFY]])
    messages(socket)
    ask(feed, socket, "subscribe", [INFY])
    assert seen(socket) == [(INFY, Mode.QUOTE)]
    feed.emit(1)
    assert seen(socket) == [(INFY, Mode.FULL)]


def test_unsubscribing_ends_it(feed, socket):
    ask(feed, socket, "subscribe", [INFY, RELIANCE])
    messages(socket)
    ask(feed, socket, "unsubscribe", [INFY, 4711])
    assert feed.emit(2) == [RELIANCE, RELIANCE]
    assert set(seen(socket)) == {(RELIANCE, Mode.QUOTE)}
    ask(feed, socket, "unsubscribe", [RELIANCE])
    assert feed.emit(2) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "5",
        "{",
        pytest.param("[" * 100_000, id="brackets"),
        '{"a":"subscribe"}',
        '{"a":"subscribe","v":["408065"]}',
        '{"a":"subscribe","v":[[408065]]}',
        '{"a":"subscribe","v":[408065.0]}',
        '{"a":"subscribe","v":[true]}',
        '{"a":"subscribe","v":[-1]}',
        '{"a":"subscribe","v":408065}',
        '{"a":"mode","v":["full"]}',
        '{"a":"mode","v":["turbo",[408065]]}',
        '{"a":"mode","v":["full","408065"]}',
        '{"a":["subscribe"],"v":[408065]}',
        '{"a":"dance","v":[408065]}',
    ],
)
def test_what_is_no_request_is_ignored_without_a_word(feed, socket, text):
    feed.request(socket, text)
    assert socket.subscriptions == {}
    assert messages(socket) == []
    assert [(request.text, request.action) for request in feed.requests] == [(text, None)]
    assert feed.total_requests == socket.requests == 1


def test_too_many_instruments_fail_and_the_others_stay():
    feed, socket = make_feed(max_instruments_per_socket=3), fake_socket()
    feed.attach(socket)
    ask(feed, socket, "subscribe", [INFY, RELIANCE])
    messages(socket)
    ask(feed, socket, "subscribe", [INFY, NIFTY, 265])
    error, *_ = messages(socket)
    assert json.loads(error) == {
        "type": "error",
        "data": "Can't subscribe to more than 3 instruments.",
    }
    assert list(socket.subscriptions) == [INFY, RELIANCE]
    ask(feed, socket, "subscribe", [NIFTY, NIFTY])
    assert len(socket.subscriptions) == 3


def test_instruments_that_do_not_exist_are_silent(feed, socket):
    ask(feed, socket, "subscribe", [4711])
    assert messages(socket) == []
    assert feed.emit(3) == []
    assert feed.streaming == 0


def test_a_shut_market_answers_with_cached_packets_and_nothing_else(feed, socket):
    feed.market.set_open(is_open=False)
    ask(feed, socket, "subscribe", [INFY])
    ask(feed, socket, "mode", ["full", [INFY]])
    quote, full = ticks(socket)
    assert (quote.mode, full.mode) == (Mode.QUOTE, Mode.FULL)
    assert {level.price for level in full.depth.buy} == {0.0}
    assert feed.emit(1) == []
    assert messages(socket) == []


def test_each_update_goes_to_every_socket_in_its_own_mode(feed, socket):
    other = fake_socket(1)
    feed.attach(other)
    ask(feed, socket, "subscribe", [INFY])
    ask(feed, other, "subscribe", [INFY])
    ask(feed, other, "mode", ["full", [INFY]])
    messages(socket), messages(other)
    feed.emit(1)
    (quote,), (full,) = ticks(socket), ticks(other)
    assert (quote.mode, full.mode) == (Mode.QUOTE, Mode.FULL)
    assert quote.last_price == full.last_price
    assert full.exchange_timestamp.timestamp() == NOW + 5


def test_totals_outlive_the_sockets(feed, socket):
    ask(feed, socket, "subscribe", [INFY])
    feed.emit(2)
    assert (feed.total_packets, feed.total_frames) == (3, 2)
    feed.detach(socket)
    feed.detach(socket)
    assert (feed.total_packets, feed.total_frames) == (3, 2)
    assert feed.emit(1) == []


def test_any_frame_can_be_sent_to_chosen_sockets(feed, socket):
    other = fake_socket(1)
    feed.attach(other)
    assert feed.send_frame(b"\x00\x01\x00\x01x", [1, 99]) == 1
    assert feed.send_text({"type": "message", "data": "hi"}) == 2
    feed.heartbeat([0])
    assert messages(socket) == ['{"type":"message","data":"hi"}', b"\0"]
    assert messages(other) == [b"\x00\x01\x00\x01x", '{"type":"message","data":"hi"}']
    assert (other.packets, socket.packets) == (1, 0)


def test_order_updates_go_to_all_sockets_of_the_user(feed, socket):
    twin, stranger = fake_socket(1), fake_socket(2, user_id="SIM002")
    feed.attach(twin)
    feed.attach(stranger)
    assert feed.post_order("SIM001", {"order_id": "1"}) == 2
    assert messages(socket) == messages(twin)
    assert messages(stranger) == []
    assert (feed.order_updates, feed.order_copies) == (1, 2)
