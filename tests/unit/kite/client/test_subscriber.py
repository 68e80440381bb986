import pytest

from connector import (
    CapacityError,
    Channel,
    ConnectionClosedError,
    ErrorMessage,
    Exchange,
    FrameMessage,
    KiteTickerSubscriber,
    Mode,
    Tick,
    TickMessage,
)
from connector.kite.client.channel_handler import DropWatch
from connector.kite.client.symbols import Symbols
from connector.testing import FakeClock

FULL, QUOTE, LTP = Mode.FULL, Mode.QUOTE, Mode.LTP


class Kit:
    def __init__(self, refuse=()):
        self.refuse = set(refuse)
        self.changes = []
        self.closed = []
        self.subscriber = KiteTickerSubscriber(
            DropWatch(0, Channel(5), FakeClock(), None),
            QUOTE,
            self.change,
            self.closed.append,
            Symbols(None),
        )

    def change(self, tokens):
        tokens = list(tokens)
        self.changes.append(tokens)
        refused = [token for token in tokens if token in self.refuse]
        if refused and all(token in self.subscriber.claims for token in tokens):
            raise CapacityError(refused, 3)


@pytest.fixture
def kit():
    return Kit()


def tick(token):
    return Tick(token, LTP, Exchange.NSE, True, 1.0)


def test_instruments_take_the_subscribers_mode_unless_one_is_named(kit):
    kit.subscriber.subscribe([1, 2])
    kit.subscriber.subscribe([3], FULL)
    assert kit.subscriber.get_subscribed() == {1: QUOTE, 2: QUOTE, 3: FULL}
    kit.subscriber.set_mode([1], LTP)
    assert kit.subscriber.get_subscribed() == {1: LTP, 2: QUOTE, 3: FULL}
    assert kit.changes == [[1, 2], [3], [1]]


def test_the_mode_of_a_stranger_cannot_be_set(kit):
    kit.subscriber.subscribe([1])
    with pytest.raises(KeyError, match="7"):
        kit.subscriber.set_mode([1, 7], FULL)
    assert kit.subscriber.get_subscribed() == {1: QUOTE}


def test_unsubscribing(kit):
    kit.subscriber.subscribe([1, 2, 3])
    kit.subscriber.unsubscribe([1, 9])
    assert kit.subscriber.get_subscribed() == {2: QUOTE, 3: QUOTE}
    kit.subscriber.unsubscribe()
    assert kit.subscriber.get_subscribed() == {}
    assert kit.changes[1:] == [[1], [2, 3]]


def test_what_is_refused_is_not_claimed_and_the_rest_is():
    kit = Kit(refuse=[2])
    with pytest.raises(CapacityError):
        kit.subscriber.subscribe([1, 2, 3])
    assert kit.subscriber.get_subscribed() == {1: QUOTE, 3: QUOTE}


def test_any_other_failure_leaves_the_claims_as_they_were(kit):
    kit.subscriber.subscribe([1])

    def fail(tokens):
        raise RuntimeError

    kit.subscriber._claims_changed = fail
    with pytest.raises(RuntimeError):
        kit.subscriber.subscribe([2])
    assert kit.subscriber.get_subscribed() == {1: QUOTE}


async def test_messages_and_the_end(kit):
    kit.subscriber.deliver(ErrorMessage("a"))
    kit.subscriber.deliver(ErrorMessage("b"))
    assert await kit.subscriber.next_message() == ErrorMessage("a")
    kit.subscriber.close()
    assert [message async for message in kit.subscriber] == [ErrorMessage("b")]
    assert await kit.subscriber.next_message() is None
    assert kit.closed == [kit.subscriber]
    kit.subscriber.close()
    assert len(kit.closed) == 1


async def test_frames_alone(kit):
    frame = FrameMessage(b"x", 1)
    kit.subscriber.deliver(ErrorMessage("a"))
    kit.subscriber.deliver(frame)
    assert await kit.subscriber.next_frame() == frame
    kit.subscriber.channel.close()
    assert await kit.subscriber.next_frame() is None


def test_of_ticks_only_its_own(kit):
    kit.subscriber.subscribe([1, 3])
    kit.subscriber.deliver_ticks(TickMessage([tick(1), tick(2), tick(3)], 7))
    kit.subscriber.deliver_ticks(TickMessage([tick(2)], 8))
    message = kit.subscriber.channel.get_nowait()
    assert [one.instrument_token for one in message] == [1, 3]
    assert message.receive_time_us == 7
    assert kit.subscriber.channel.get_nowait() is None
    assert kit.subscriber.stats.received == 1


def test_as_a_context_it_is_closed_at_the_end(kit):
    with kit.subscriber as subscriber:
        subscriber.subscribe([1])
    assert subscriber.channel.closed
    assert subscriber.get_subscribed() == {}


def test_one_that_is_closed_takes_no_more_instruments(kit):
    kit.subscriber.subscribe([1])
    kit.subscriber.close()
    with pytest.raises(ConnectionClosedError, match="this subscriber is closed"):
        kit.subscriber.subscribe([2])
    kit.subscriber.unsubscribe([1])
    assert kit.subscriber.get_subscribed() == {}


def test_repr(kit):
    kit.subscriber.subscribe([1])
    assert repr(kit.subscriber) == (
        "KiteTickerSubscriber(1 instruments, Channel(0/5, drop_oldest, 0 lost))"
    )
