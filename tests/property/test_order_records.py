"""Whatever JSON an order update is, it becomes a record that can be read again."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.avro_records import RecordDecoder, RecordEncoder
from connector.kafka.topics import TopicNames
from connector.kite.wire.messages import parse_message
from connector.kite.wire.models import OrderMessage

TOPICS = TopicNames()
ENCODER = RecordEncoder(TOPICS, {TOPICS.orders: 1, TOPICS.events: 2})
NAMES = ("order_id", "status", "tag", "quantity", "price", "order_timestamp", "instrument_token")

# half characters too: JSON can name them
texts = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["9999-12-31 23:59:59", "0001-01-01 00:00:00", "1e400"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)


@given(st.dictionaries(st.sampled_from(NAMES) | texts, values, max_size=6))
def test_any_order(data):
    message = parse_message(json.dumps({"type": "order", "data": data}))
    assert isinstance(message, OrderMessage)
    value = ENCODER.order(message.order, slot=1, session_id=2, receive_time_us=3_000)
    row = RecordDecoder(TOPICS).decode(TOPICS.orders, value).value
    assert row["order_id"] == message.order.order_id
    assert set(json.loads(row["payload"])) == {
        name.encode(errors="replace").decode() for name in data
    }


@given(st.sampled_from([TOPICS.orders, TOPICS.events, TOPICS.instruments]), st.binary(max_size=80))
def test_any_bytes_are_a_value_or_a_value_error(topic, body):
    with contextlib.suppress(ValueError):
        assert isinstance(RecordDecoder(TOPICS).decode(topic, b"\0\0\0\0\1" + body).value, dict)
