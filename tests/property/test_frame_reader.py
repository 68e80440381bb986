"""Behind the frame reader websockets gives what it gives alone, of any bytes in any pieces."""

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from connector.kite.feed import socket as socket_module
from connector.kite.feed.framing import BUFFER_BYTES, FRAMES_PER_TURN
from connector.kite.feed.socket import KEPT_TEXT_BYTES, MAX_FRAME_BYTES, MAX_TEXT_BYTES
from connector.redaction import Redactor
from tests.support.frame_readers import name_of, twins
from tests.support.server_frames import client_frames, server_frame
from tests.unit.kite.feed.test_socket import Kit


class Alone:
    """websockets without anything around it, and what a listener would hear of it."""

    def __init__(self, key):
        self.protocol = ClientProtocol(
            parse_uri("ws://feed"),
            max_size=MAX_FRAME_BYTES,
            logger=logging.Logger("alone", logging.CRITICAL),  # noqa: LOG001
        )
        self.protocol.key = key
        self.protocol.send_request(self.protocol.connect())
        self.protocol.data_to_send()
        self.received = []
        self.written = b""
        self.part, self.opcode = b"", 0

    def read(self, data):
        self.protocol.receive_data(data)
        self.written += b"".join(self.protocol.data_to_send())
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self.hear(event)

    def hear(self, frame):
        if frame.opcode in {9, 10}:
            self.received.append("control")
        elif frame.opcode != 8:
            self.opcode = frame.opcode or self.opcode
            self.part += frame.data
            if frame.fin:
                message, self.part = bytes(self.part), b""
                self.received.append(message if self.opcode == 2 else text_of(message))

    def lost(self, reset):
        self.protocol.receive_eof()
        self.written += b"".join(self.protocol.data_to_send())
        protocol = self.protocol
        if protocol.handshake_exc is not None:
            return []
        if protocol.close_rcvd is not None:
            return [(protocol.close_rcvd.code, Redactor().foreign(protocol.close_rcvd.reason))]
        fault = protocol.parser_exc
        said = fault if fault is not None and not isinstance(fault, EOFError) else None
        reason = reset or said
        return [(None, Redactor().foreign(str(reason)) if reason else "closed without a word")]


def text_of(message):
    if len(message) > MAX_TEXT_BYTES:
        return message[:KEPT_TEXT_BYTES].decode(errors="replace"), len(message)
    return message.decode(errors="replace")


async def in_both(frame_reader, monkeypatch, stream, cuts, *, answer=None, reset=None):
    monkeypatch.setattr(socket_module, "FrameReader", frame_reader)
    kit = Kit()
    (request,) = kit.take()
    if answer is None:
        kit.server.send_response(kit.server.accept(request))
        answer = b"".join(kit.server.data_to_send())
    kit.socket.resume()
    alone = Alone(request.headers["Sec-WebSocket-Key"])
    cuts = [cut if cut > 0 else len(answer) + cut for cut in cuts]
    stream = answer + stream
    for cut in [*cuts, len(stream)]:
        if not stream:
            break
        chunk, stream = stream[:cut], stream[cut:]
        kit.read(chunk)
        await kit.worked()
        alone.read(chunk)
        assert kit.listener.received == alone.received
        assert all(type(a) is type(b) for a, b in zip(kit.listener.received, alone.received,
                                                       strict=True))  # fmt: skip
        assert client_frames(kit.transport.written) == client_frames(alone.written)
    if reset is None:
        kit.socket.eof_received()
    kit.socket.connection_lost(reset)
    await kit.worked()
    lost = alone.lost(reset)
    assert kit.listener.lost == lost
    assert reset is not None or kit.transport.eof is alone.protocol.eof_sent
    assert kit.listener.received == alone.received
    assert client_frames(kit.transport.written) == client_frames(alone.written)
    return alone


payloads = st.binary(max_size=140) | st.sampled_from([0, 125, 126, 400, 2**16 - 1, 2**16]).map(
    bytes
)
plain = st.builds(server_frame, st.sampled_from([2, 2, 2, 1]), payloads)
control = st.builds(server_frame, st.sampled_from([9, 10]), st.binary(max_size=125))
part = st.builds(server_frame, st.sampled_from([0, 2, 1]), payloads, fin=st.booleans())
fragments = st.tuples(payloads, control | st.just(b""), payloads).map(
    lambda parts: server_frame(2, parts[0], fin=False) + parts[1] + server_frame(0, parts[2])
)
close = st.builds(server_frame, st.just(8), st.sampled_from([b"\x03\xe9bye", b"", b"x", b"\0\1"]))
odd = (
    st.builds(server_frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans())
    | st.builds(server_frame, st.sampled_from([1, 2, 9]), payloads, reserved=st.integers(1, 7))
    | st.builds(server_frame, st.sampled_from([1, 2, 9]), payloads, mask=st.just(True))
    | st.integers(0, 2**64 - 1).map(lambda size: b"\x82\x7f" + size.to_bytes(8))
    | st.binary(max_size=20)
)
good = st.lists(plain | plain | control | fragments, max_size=8).map(b"".join)
streams = st.tuples(good, st.just(b"") | part | close | odd, good | st.binary(max_size=40)).map(
    b"".join
)
cuts = st.lists(st.integers(1, 8) | st.integers(1, 3000), max_size=60)

TWO = server_frame(2, b"one") + server_frame(2, b"\0\1two")
NASTY = {
    "binary within a fragmented message": server_frame(2, b"a", fin=False) + TWO,
    "text within a fragmented message": server_frame(1, b"a", fin=False) + server_frame(1, b"b"),
    "a message begun anew": server_frame(2, b"a", fin=False) * 2,
    "fragments": server_frame(2, b"a", fin=False) + server_frame(0, b"b" * 200, fin=False)
                 + server_frame(10, b"") + server_frame(0, b"c" * 7),
    "binary behind two fragments": server_frame(2, b"a", fin=False)
                                   + server_frame(0, b"b", fin=False) + TWO,
    "fragments of text": server_frame(1, b"a", fin=False) + server_frame(0, b"b"),
    "the end of no message": server_frame(0, b"x"),
    "the middle of no message": server_frame(0, b"x", fin=False),
    "a fragmented ping": server_frame(9, b"x", fin=False),
    "a long ping": server_frame(9, b"x" * 126),
    "a close within a fragmented message": server_frame(2, b"a", fin=False)
                                           + server_frame(8, b"\x03\xe8"),
    "a close": server_frame(8, b"\x03\xe9bye"),
    "a close without a code": server_frame(8, b""),
    "a close with half a code": server_frame(8, b"x"),
    "a close that is no UTF-8": server_frame(8, b"\x03\xe9\xff"),
    "a length in more bytes than it needs": b"\x82\x7e\0\1x\x82\x7f" + bytes(7) + b"\1y",
    "the longest length": b"\x82\x7f" + b"\xff" * 8,
    "one byte too many": b"\x82\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8),
    "the beginning of a frame": b"\x82\x7e\1",
    **{f"masked {opcode}": server_frame(opcode, b"abcd", mask=True) for opcode in (1, 2, 9)},
    **{f"reserved bits, {opcode}": server_frame(opcode, b"abcd", reserved=bits)
       for opcode, bits in ((1, 1), (2, 4), (2, 2), (2, 1), (9, 4))},
    **{f"opcode {opcode}": server_frame(opcode, b"abcd") for opcode in (3, 7, 11, 15)},
}  # fmt: skip


@pytest.mark.parametrize("frame_reader", twins(), ids=name_of)
class TestBesideWebsocketsAlone:
    @settings(max_examples=250, deadline=None)
    @given(streams, cuts, st.none() | st.just(ConnectionResetError("reset")))
    def test_any_stream_in_any_pieces(self, frame_reader, stream, cuts, reset):
        with pytest.MonkeyPatch.context() as patch:
            asyncio.run(in_both(frame_reader, patch, stream, cuts, reset=reset))

    @pytest.mark.parametrize("cut", [1, 2, 3, 1000])
    @pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
    def test_every_kind_of_frame_between_others(self, frame_reader, nasty, cut, monkeypatch):
        stream = TWO + nasty + TWO + nasty[:1]
        asyncio.run(in_both(frame_reader, monkeypatch, stream, [cut] * len(stream) * 2))

    @settings(max_examples=50, deadline=None)
    @given(
        st.sampled_from(
            [
                b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno\r\n\r\nway",
                b"HTTP/1.1 200 Fine\r\n\r\n\x82\x01x",
                b"\r\n\r\n\x82\x01x",
                b"HTTP/1.1 101 Go\r\n\r\n\x82\x01x",
            ]
        )
        | st.binary(max_size=40),
        cuts,
    )
    def test_answers_that_open_nothing(self, frame_reader, answer, cuts):
        with pytest.MonkeyPatch.context() as patch:
            alone = asyncio.run(in_both(frame_reader, patch, b"\x82\x01y", cuts, answer=answer))
        assert alone.received == []

    @pytest.mark.parametrize("cut", range(1, 6))
    def test_frames_right_behind_the_answer(self, frame_reader, cut, monkeypatch):
        asyncio.run(in_both(frame_reader, monkeypatch, TWO, [-cut, cut + len(TWO) - 1]))

    @pytest.mark.parametrize("size", [BUFFER_BYTES - 11, BUFFER_BYTES - 10, BUFFER_BYTES - 9])
    @pytest.mark.parametrize("cut", [1000, 70_000, 10**7])
    def test_frames_as_long_as_the_buffer_and_longer(self, frame_reader, size, cut, monkeypatch):
        stream = server_frame(2, b"a" * size) * 3 + server_frame(9, b"") + server_frame(2, b"end")
        pieces = [cut] * (len(stream) // cut)
        asyncio.run(in_both(frame_reader, monkeypatch, stream, pieces))

    def test_a_message_that_is_too_large_only_with_its_fragments(self, frame_reader, monkeypatch):
        part = server_frame(2, bytes(MAX_FRAME_BYTES - 100), fin=False)
        stream = part + server_frame(2, bytes(200)) + server_frame(2, b"after")
        asyncio.run(in_both(frame_reader, monkeypatch, stream, [len(part) + 200 + 4]))

    def test_many_frames_in_one_read(self, frame_reader, monkeypatch):
        stream = (server_frame(2, b"x") * FRAMES_PER_TURN + server_frame(9, b"")) * 3
        asyncio.run(in_both(frame_reader, monkeypatch, stream, []))
