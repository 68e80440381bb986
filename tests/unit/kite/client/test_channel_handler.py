import pytest

from connector import (
    Channel,
    ChannelPolicy,
    ClosingMessage,
    ConnectionEvent,
    ErrorMessage,
    EventType,
    FrameMessage,
    Mode,
    Order,
    OrderMessage,
    OrderStatus,
    OrderTransactionType,
    OrderValidity,
    TickMessage,
)
from connector.kite.client.channel_handler import ChannelHandler
from connector.kite.feed.handler import FlowControlled
from connector.testing import FakeClock
from tests.support import packets

NSE, NFO = packets.NSE, packets.NFO


class Kit:
    def __init__(self, capacity=10, policy=ChannelPolicy.DROP_OLDEST, *, raw=False):
        self.channel = Channel(capacity, policy)
        self.events = []
        self.orders = []
        self.handler = ChannelHandler(
            4, self.channel, raw=raw, clock=FakeClock(), on_event=self.events.append,
            on_order=lambda message, raw: self.orders.append(raw),
        )  # fmt: skip

    def frame(self, *parts, at=7):
        return self.handler.frame(packets.frame(*parts), at)


@pytest.fixture
def kit():
    return Kit()


def test_a_frame_becomes_one_message(kit):
    kit.frame(packets.quote(NSE), packets.full(NFO), at=123)
    message = kit.channel.get_nowait()
    assert isinstance(message, TickMessage)
    assert [tick.instrument_token for tick in message] == [NSE, NFO]
    assert message.receive_time_us == 123
    assert kit.handler.ticks == 2


@pytest.mark.parametrize("raw", [False, True])
def test_it_reports_what_is_new_and_is_silent_afterwards(raw):
    kit = Kit(raw=raw)
    assert kit.frame(packets.quote(NSE), packets.quote(NFO)) == [
        (NSE, Mode.QUOTE),
        (NFO, Mode.QUOTE),
    ]
    assert list(kit.frame(packets.quote(NSE))) == []
    assert kit.frame(packets.full(NSE), packets.quote(NFO)) == [(NSE, Mode.FULL)]
    assert kit.frame(packets.full(NSE), packets.ltp(NSE)) == [(NSE, Mode.LTP)]


@pytest.mark.parametrize("renew", ["opened", "expect", "forget"])
def test_what_is_asked_for_anew_is_new(kit, renew):
    kit.frame(packets.quote(NSE))
    match renew:
        case "opened":
            kit.handler.opened(1)
        case "expect":
            kit.handler.expect([NSE, 5])
        case "forget":
            kit.handler.forget([NSE, 5])
    assert kit.frame(packets.quote(NSE)) == [(NSE, Mode.QUOTE)]


def test_bad_packets_are_counted_and_good_ones_kept(kit):
    kit.frame(b"x" * 12, packets.ltp(NSE), packets.ltp(packets.NO_SEGMENT))
    assert kit.handler.rejected == 2
    assert len(kit.channel.get_nowait()) == 1
    assert kit.handler.frame(b"\xff\xff\x00", 0) == ()
    assert kit.channel.get_nowait() is None


def test_a_raw_frame_is_handed_on_whole():
    kit = Kit(raw=True)
    frame = packets.frame(packets.ltp(NSE), b"strange")
    kit.handler.frame(frame, 9)
    assert kit.channel.get_nowait() == FrameMessage(frame, 9)
    assert kit.handler.ticks == 0


def test_text_messages_are_queued_and_orders_told(kit):
    order = Order("1", OrderStatus.UPDATE, OrderTransactionType.BUY, OrderValidity.DAY)
    kit.handler.message(ErrorMessage("no"), "raw")
    kit.handler.message(OrderMessage(order), "raw order")
    assert kit.channel.get_nowait() == ErrorMessage("no")
    assert kit.channel.get_nowait() == OrderMessage(order)
    assert kit.orders == ["raw order"]


def test_events_are_passed_on_and_the_end_of_a_socket_is_a_message(kit):
    connected = ConnectionEvent(EventType.CONNECTED, 4, 0)
    lost = ConnectionEvent(EventType.DISCONNECTED, 4, 0, reason="gone", code=1006)
    kit.handler.event(connected)
    kit.handler.event(lost)
    assert kit.events == [connected, lost]
    assert kit.channel.get_nowait() == ClosingMessage(1006, "gone")
    assert kit.channel.get_nowait() is None


def test_drops_are_told_at_their_first_and_when_the_reader_caught_up():
    kit = Kit(capacity=2)
    for _ in range(5):
        kit.frame(packets.ltp(NSE))
    assert kit.handler.dropping
    assert [(event.type, event.slot, event.reason) for event in kit.events] == [
        (EventType.DROPPED, 4, "channel full at 2 messages")
    ]
    kit.channel.get_nowait()
    kit.channel.get_nowait()
    kit.frame(packets.ltp(NSE))
    assert not kit.handler.dropping
    assert kit.events[1].reason == "3 messages dropped"
    # a second time counts from there
    for _ in range(3):
        kit.frame(packets.ltp(NSE))
    assert len(kit.events) == 3


def test_a_full_channel_of_policy_block_holds_the_connection():
    class Connection:
        def __init__(self):
            self.calls = []

        def pause_reading(self):
            self.calls.append("pause")

        def resume_reading(self):
            self.calls.append("resume")

    kit = Kit(capacity=2, policy=ChannelPolicy.BLOCK)
    assert isinstance(kit.handler, FlowControlled)
    connection = Connection()
    kit.handler.flow(connection)
    kit.frame(packets.ltp(NSE))
    kit.frame(packets.ltp(NSE))
    kit.channel.get_nowait()
    assert connection.calls == ["pause", "resume"]


def test_without_listeners_nothing_is_missing():
    handler = ChannelHandler(0, Channel(1))
    for _ in range(2):
        handler.frame(packets.frame(packets.ltp(NSE)), 0)
    handler.event(ConnectionEvent(EventType.CONNECTED, 0, 0))
    order = Order("1", OrderStatus.UPDATE, OrderTransactionType.BUY, OrderValidity.DAY)
    handler.message(OrderMessage(order), "")
    assert handler.channel.stats.dropped == 2


def test_a_callback_that_raises_costs_no_message():
    def on_event(event):
        raise RuntimeError("the user's")

    channel = Channel(1)
    handler = ChannelHandler(4, channel, clock=FakeClock(), on_event=on_event)
    found = [handler.frame(packets.frame(packets.ltp(token)), 7) for token in (NSE, NFO, NSE)]
    assert found == [[(NSE, Mode.LTP)], [(NFO, Mode.LTP)], []]
    assert (channel.stats.received, channel.stats.dropped) == (3, 2)


def test_the_end_of_its_connection_is_the_channels():
    kit = Kit(capacity=1)
    kit.handler.event(ConnectionEvent(EventType.FAILED, 4, 0))
    assert not kit.channel.closed  # it may be connected again
    kit.handler.event(ConnectionEvent(EventType.CLOSED, 4, 0))
    assert kit.channel.closed
