"""Whatever the bytes are cut into and whenever the listener pauses, the messages are the same."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.kite.feed import socket as socket_module
from connector.kite.feed.socket import MAX_TEXT_BYTES
from tests.support.frame_readers import name_of, twins
from tests.unit.kite.feed.test_socket import Kit

payloads = st.binary(max_size=300) | st.integers(60_000, 70_000).map(bytes)
messages = st.lists(
    st.tuples(st.sampled_from(["binary", "text", "ping", "fragments"]), payloads), max_size=12
)


@pytest.mark.parametrize("twin", twins(), ids=name_of)
@settings(max_examples=100, deadline=None)
@given(messages, st.lists(st.integers(1, 5000), max_size=40), st.data())
def test_messages(twin, messages, cuts, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket_module, "FrameReader", twin)
        asyncio.run(check(messages, cuts, data))


async def check(messages, cuts, data):
    kit = Kit()
    kit.accept(resume=False)
    expected = []
    for kind, payload in messages:
        if kind == "binary":
            kit.server.send_binary(payload)
            expected.append(payload)
        elif kind == "text":
            text = payload.hex()[:MAX_TEXT_BYTES]
            kit.server.send_text(text.encode())
            expected.append(text)
        elif kind == "ping":
            kit.server.send_ping(payload[:125])
            expected.append("control")
        else:
            half = len(payload) // 2
            kit.server.send_binary(payload[:half], fin=False)
            kit.server.send_continuation(payload[half:], fin=True)
            expected.append(payload)
    stream = b"".join(kit.server.data_to_send())

    kit.listener.on_binary = lambda: data.draw(st.booleans()) and kit.socket.pause()
    for cut in [*cuts, len(stream) or 1]:
        kit.read(stream[:cut])
        stream = stream[cut:]
        assert kit.listener.received == expected[: len(kit.listener.received)]
        if data.draw(st.booleans()):
            kit.socket.resume()
        if data.draw(st.booleans()):
            await asyncio.sleep(0)
        if not stream:
            break
    kit.listener.on_binary = None
    kit.socket.resume()
    await kit.worked()
    assert kit.listener.received == expected
    kit.socket.connection_lost(None)
    assert kit.listener.lost == [(None, "closed without a word")]


@pytest.mark.parametrize("twin", twins(), ids=name_of)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_at_all_end_in_order(twin, chunks):
    """Garbage raises nothing: it ends the socket, once."""

    async def garbage():
        kit = Kit()
        kit.accept()
        for chunk in chunks:
            kit.read(chunk)
        kit.socket.connection_lost(None)
        assert len(kit.listener.lost) == 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket_module, "FrameReader", twin)
        asyncio.run(garbage())
