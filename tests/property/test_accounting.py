from hypothesis import given
from hypothesis import strategies as st

from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.wire.models import Exchange, OrderMessage
from connector.kite.wire.orders import parse_order
from connector.simulator.wire import encode_frame
from tests.support.producing import TIME_US, pipeline

packets = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda segment, token, body: bytes([0, 0, token, segment]) + body,
        st.sampled_from([exchange.value for exchange in Exchange] + [10, 77]),
        st.integers(0, 255),
        st.sampled_from([4, 24, 28, 40, 180]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    ),
)
frames = st.one_of(
    st.binary(max_size=300).map(lambda data: ("frame", data)),
    st.lists(packets, max_size=6).map(lambda listed: ("frame", encode_frame(listed))),
    st.tuples(st.lists(packets, max_size=3), st.integers(0, 300)).map(
        lambda cut: ("frame", encode_frame(cut[0])[: cut[1]])
    ),
    st.integers(0, 5).map(lambda order: ("order", str(order))),
    st.just(("event", None)),
)


@given(st.lists(st.tuples(st.integers(0, 2), frames), max_size=30))
def test_everything_received_is_one_record(inputs):
    """However bytes come: nothing is lost between socket and producer, and nothing is doubled."""
    kite = pipeline()
    orders = set()
    for slot, (kind, what) in inputs:
        handler = kite.handler(slot)
        if kind == "frame":
            handler.frame(what, TIME_US)
        elif kind == "order":
            orders.add(what)
            handler.message(OrderMessage(parse_order({"order_id": what})), what)
        else:
            handler.event(ConnectionEvent(EventType.CONNECTED, slot, 0))
    records = kite.producer.records
    by_topic = dict.fromkeys(kite.tick_topics.values(), 0)
    for record in records:
        by_topic[record.topic] = by_topic.get(record.topic, 0) + 1
    assert kite.received == len(records)
    assert sum(kite.rejected.values()) == by_topic.get("kite.deadletter", 0)
    assert kite.orders == len(orders) == by_topic.get("kite.orders", 0)
    for exchange, count in kite.ticks.items():
        assert count == by_topic[kite.tick_topics[exchange]]
