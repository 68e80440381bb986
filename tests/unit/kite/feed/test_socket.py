"""The socket against websockets' own server protocol, without a network between."""

import asyncio
import gzip
import json
import logging

import pytest
from pydantic import SecretStr
from websockets.frames import Close, Opcode
from websockets.server import ServerProtocol

from connector import (
    FeedUnreachableError,
    HandshakeError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.feed import socket as socket_module
from connector.kite.feed.socket import MAX_FRAME_BYTES, WebSocket, check_root
from connector.testing import settle
from tests.support.echoes import ECHOES, shown_of
from tests.support.echoes import TOKEN as LONG_TOKEN

KITES = '{"status": "error", "message": "Wrong token.", "error_type": "TokenException"}'
PAGE = (
    "<!DOCTYPE html><html><head><style>body {color: red}</style><script>let x = '<b>';</script>"
    "</head><body><h1>Access\tdenied</h1>\n<!-- ray --><p class='a'>Ask your network team"
    " about SECRET-T=n</p>" + "<p>more</p>" * 200 + "</body></html>"
)
KEY, TOKEN = SecretStr("SECRET-K&y"), SecretStr("SECRET-T=n")


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False
        self.aborted = False
        self.eof = False

    def write(self, data):
        self.written += data

    def write_eof(self):
        self.eof = True

    def can_write_eof(self):
        return True

    def is_closing(self):
        return self.closed or self.aborted

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True


class Listener:
    def __init__(self):
        self.received = []
        self.lost = []
        self.on_binary = None

    def binary_received(self, data):
        self.received.append(data)
        if self.on_binary:
            self.on_binary()

    def text_received(self, text):
        self.received.append(text)

    def text_too_long(self, beginning, size_bytes):
        self.received.append((beginning, size_bytes))

    def control_received(self):
        self.received.append("control")

    def socket_lost(self, code, reason):
        self.lost.append((code, reason))


class Kit:
    """A `WebSocket` and the server's end of it."""

    def __init__(self, token=TOKEN):
        self.listener = Listener()
        self.transport = Transport()
        self.socket = WebSocket("ws://feed", KEY, token, self.listener)
        self.server = ServerProtocol(logger=logging.Logger("server", logging.ERROR))  # noqa: LOG001
        self.socket.connection_made(self.transport)

    def read(self, data):
        """Bytes from the network, as asyncio's transports give them to a buffered protocol."""
        while data:
            room = self.socket.get_buffer(-1)
            size = min(len(data), len(room))
            room[:size], data = data[:size], data[size:]
            self.socket.buffer_updated(size)

    def take(self):
        """What the client wrote, as the server's events."""
        data, self.transport.written = self.transport.written, b""
        self.server.receive_data(data)
        return self.server.events_received()

    def give(self, *, cut=None):
        """What the server wrote, to the client; `cut` at a time."""
        data = b"".join(self.server.data_to_send())
        for start in range(0, len(data), cut or len(data) or 1):
            self.read(data[start : start + (cut or len(data))])

    async def worked(self):
        """Let the loop turn until everything that was read is worked on."""
        while self.socket.behind:  # noqa: ASYNC110 -- it is the turns that are waited for
            await asyncio.sleep(0)

    def accept(self, *, resume=True):
        (request,) = self.take()
        self.server.send_response(self.server.accept(request))
        self.give()
        if resume:
            self.socket.resume()
        return request


@pytest.fixture
async def kit(frame_reader):
    kit = Kit()
    yield kit
    kit.socket.connection_lost(None)


@pytest.fixture
def opened(kit):
    kit.accept()
    return kit


class TestHandshake:
    async def test_the_request(self, kit):
        request = kit.accept()
        assert request.path == "/?api_key=SECRET-K%26y&access_token=SECRET-T%3Dn"
        assert request.headers["X-Kite-Version"] == "3"
        assert "Sec-WebSocket-Extensions" not in request.headers
        kit.socket.check_handshake("ws://feed")
        assert kit.socket.handshaken.done()

    @pytest.mark.parametrize("cut", [1, 7, 100])
    async def test_the_answer_may_come_in_pieces(self, kit, cut):
        (request,) = kit.take()
        kit.server.send_response(kit.server.accept(request))
        kit.server.send_binary(b"first")
        kit.give(cut=cut)
        kit.socket.check_handshake("ws://feed")
        kit.socket.resume()
        assert kit.listener.received == [b"first"]

    async def test_frames_behind_the_answer_wait_for_resume(self, kit):
        (request,) = kit.take()
        kit.server.send_response(kit.server.accept(request))
        kit.server.send_text(b'{"type":"instruments_meta"}')
        kit.server.send_binary(b"\0")
        kit.give()
        assert kit.listener.received == []
        kit.socket.resume()
        assert kit.listener.received == ['{"type":"instruments_meta"}', b"\0"]

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (403, HandshakeError),
            (429, TooManyConnectionsError),
            (400, HandshakeError),
            (302, HandshakeError),
            (503, HandshakeError),
        ],
    )
    @pytest.mark.parametrize("cut", [None, 1])
    async def test_refusals(self, kit, status, kind, cut):
        kit.take()
        body = b"no SECRET-K&y, no SECRET-T=n"
        kit.read(b"")
        told = b"Retry-After: 3\r\nretry-after: 7\r\nContent-Length: %d" % len(body)
        answer = b"HTTP/1.1 %d Nope\r\n%s\r\n\r\n%s" % (status, told, body)
        for start in range(0, len(answer), cut or len(answer)):
            kit.read(answer[start : start + (cut or len(answer))])
        with pytest.raises(kind) as caught:
            kit.socket.check_handshake("ws://feed")
        assert (type(caught.value), caught.value.status) == (kind, status)
        assert caught.value.retry_after_seconds == (7 if status in {429, 503} else 0)
        assert (caught.value.reason, caught.value.foreign) == ("no ***, no ***", True)
        assert no_secret_in(caught.value)
        assert kit.transport.aborted
        kit.socket.connection_lost(None)
        assert kit.listener.lost == []

    async def test_a_refusal_without_a_body_has_the_phrase(self, kit):
        kit.take()
        kit.read(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(TokenRejectedError) as caught:
            kit.socket.check_handshake("ws://feed")
        assert caught.value.reason == "Forbidden"

    @pytest.mark.parametrize(
        ("status", "body", "rejected"),
        [
            (403, KITES, True),
            (400, KITES, True),
            (401, KITES, True),
            (403, KITES.replace("TokenException", "PermissionException"), True),
            (400, KITES.replace("TokenException", "InputException"), False),
            (403, "", True),
            (403, "Forbidden\n", True),
            (403, "<html><head><title>Forbidden</title></head></html>", True),
            (403, PAGE, False),
            (403, "blocked by policy", False),
            (403, '{"error": "forbidden"}', False),
            (403, '["TokenException"]', False),
            (403, "[" * 5000, False),
            (403, '{"error_type": 5, "message": "x"}', False),
            (401, PAGE, False),
            (407, PAGE, False),
            (451, PAGE, False),
            (503, PAGE, False),
            (301, PAGE, False),
            (200, PAGE, False),
        ],
    )
    @pytest.mark.parametrize("packed", [bytes, gzip.compress])
    async def test_only_kites_own_refusal_is_the_tokens_fault(
        self, kit, status, body, rejected, packed
    ):
        kit.take()
        head = f"HTTP/1.1 {status} {'Forbidden' if status == 403 else 'Other'}\r\n"
        content = packed(body.encode())
        kit.read(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        with pytest.raises(HandshakeError) as caught:
            kit.socket.check_handshake("ws://feed")
        assert type(caught.value) is (TokenRejectedError if rejected else HandshakeError)
        assert ("kite-connector login" in str(caught.value)) is rejected
        assert len(str(caught.value)) < 600
        assert no_secret_in(caught.value)
        if body == PAGE:
            assert caught.value.foreign
            assert "Access denied Ask your network team about ***" in str(caught.value)

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"x" * (70 * 1024),
            b"",
            b"HTTP/1.1 200",
        ],
    )
    async def test_what_is_no_websocket_server(self, kit, answer):
        kit.take()
        if answer:
            kit.read(answer)
        kit.socket.connection_lost(None)
        assert kit.socket.handshaken.done()
        with pytest.raises(FeedUnreachableError) as caught:
            kit.socket.check_handshake("ws://feed")
        assert caught.value.address == "ws://feed"
        assert no_secret_in(caught.value)
        assert kit.listener.lost == []

    async def test_an_answer_of_another_version_is_told(self, kit):
        kit.take()
        kit.read(b"HTTP/1.0 503 No server is available\r\nConnection: close\r\n\r\n")
        with pytest.raises(FeedUnreachableError, match=r"HTTP/1\.0 503 No server"):
            kit.socket.check_handshake("ws://feed")

    @pytest.mark.parametrize("status", [400, 403])
    async def test_half_a_character_in_a_refusal_can_be_written(self, kit, status):
        kit.take()
        body = rb'{"error_type": "Token\ud800Exception", "message": "log \udfff\u2067in"}'
        kit.read(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        with pytest.raises(HandshakeError) as caught:
            kit.socket.check_handshake("ws://feed")
        assert "Token Exception: log in" in str(caught.value)


class TestReceiving:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 600_000])
    @pytest.mark.parametrize("cut", [None, 1000])
    async def test_binary_messages_of_any_size(self, opened, size, cut):
        opened.server.send_binary(bytes(size))
        opened.server.send_binary(b"next")
        opened.give(cut=cut)
        await opened.worked()
        assert opened.listener.received == [bytes(size), b"next"]
        assert all(type(data) is bytes for data in opened.listener.received)

    async def test_byte_by_byte(self, opened):
        for size in (0, 3, 200, 70_000):
            opened.server.send_binary(bytes(size))
        opened.server.send_text("ä".encode())
        opened.give(cut=1)
        assert [len(data) for data in opened.listener.received] == [0, 3, 200, 70_000, 1]

    async def test_kinds_of_frames_keep_their_order(self, opened):
        opened.server.send_binary(b"1")
        opened.server.send_text("zwei ä".encode())
        opened.server.send_ping(b"x")
        opened.server.send_binary(b"4")
        opened.server.send_pong(b"")
        opened.give()
        assert opened.listener.received == [b"1", "zwei ä", "control", b"4", "control"]

    async def test_a_ping_is_answered(self, opened):
        opened.server.send_ping(b"hello")
        opened.give()
        assert [(event.opcode, event.data) for event in opened.take()] == [(Opcode.PONG, b"hello")]

    @pytest.mark.parametrize("cut", [None, 1])
    async def test_fragments_are_put_together(self, opened, cut):
        opened.server.send_binary(b"ab", fin=False)
        opened.server.send_ping(b"")
        opened.server.send_continuation(b"cd", fin=False)
        opened.server.send_continuation(b"ef", fin=True)
        opened.server.send_text(b"x", fin=False)
        opened.server.send_continuation(b"y", fin=True)
        opened.server.send_binary(b"whole")
        opened.give(cut=cut)
        assert opened.listener.received == ["control", b"abcdef", "xy", b"whole"]

    async def test_text_that_is_no_utf8_is_still_text(self, opened):
        opened.server.send_text(b"a\xff")
        opened.give()
        assert opened.listener.received == ["a\ufffd"]

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (b"\x82\x85abcdhello", 1002),  # masked
            (b"\x83\x01x", 1002),  # an opcode that does not exist
            (b"\xc2\x01x", 1002),  # compressed, which was not agreed
            (b"\x80\x01x", 1002),  # a continuation of nothing
            (b"\x82\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8), 1009),
            (b"\x81\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8), 1009),
            (b"\x02\x01a\x82\x01b", 1002),  # a new message within another
        ],
    )
    async def test_violations_end_the_socket(self, opened, bad, code):
        opened.server.send_binary(b"good")
        data = b"".join(opened.server.data_to_send())
        opened.read(data + bad + b"\x82\x01y")
        opened.read(b"\x82\x01z")
        assert opened.listener.received == [b"good"]
        (event,) = opened.take()
        assert Close.parse(event.data).code == code
        opened.socket.connection_lost(None)
        assert len(opened.listener.lost) == 1
        assert opened.listener.lost[0][0] is None
        assert opened.listener.lost[0][1]


class TestPausing:
    async def test_nothing_is_delivered_and_reading_stops(self, opened):
        opened.socket.pause()
        assert not opened.transport.reading
        opened.server.send_binary(b"1")
        opened.give()
        assert opened.listener.received == []
        opened.socket.resume()
        assert opened.listener.received == [b"1"]
        assert opened.transport.reading

    async def test_a_listener_may_pause_in_the_middle_of_a_read(self, opened):
        opened.listener.on_binary = opened.socket.pause
        for number in range(3):
            opened.server.send_binary(b"%d" % number)
        opened.give()
        assert opened.listener.received == [b"0"]
        opened.socket.resume()
        assert opened.listener.received == [b"0", b"1"]
        opened.listener.on_binary = None
        opened.socket.resume()
        assert opened.listener.received == [b"0", b"1", b"2"]
        assert opened.transport.reading

    async def test_a_listener_may_pause_and_resume_within_one_call(self, opened):
        def both():
            opened.socket.pause()
            opened.socket.resume()

        opened.listener.on_binary = both
        for number in range(3):
            opened.server.send_binary(b"%d" % number)
        opened.give()
        assert opened.listener.received == [b"0", b"1", b"2"]
        assert opened.transport.reading

    async def test_repeating_does_no_harm(self, opened):
        opened.socket.pause()
        opened.socket.pause()
        opened.socket.resume()
        opened.socket.resume()
        assert opened.transport.reading

    async def test_the_end_waits_for_what_was_held(self, opened):
        opened.socket.pause()
        opened.server.send_binary(b"last")
        opened.server.send_close(1001, "bye")
        opened.give()
        opened.socket.connection_lost(None)
        assert opened.listener.lost == []
        opened.socket.resume()
        assert opened.listener.received == [b"last"]
        assert opened.listener.lost == [(1001, "bye")]

    async def test_the_end_is_the_end_also_for_a_listener_that_pauses_and_resumes(self, opened):
        opened.socket.pause()
        opened.server.send_binary(b"1")
        opened.server.send_binary(b"2")
        opened.give()
        opened.socket.connection_lost(None)
        after = []

        def both():
            after.append(list(opened.listener.lost))
            opened.socket.pause()
            opened.socket.resume()

        opened.listener.on_binary = both
        opened.socket.resume()
        assert opened.listener.received == [b"1", b"2"]
        assert after == [[], []]
        assert opened.listener.lost == [(None, "closed without a word")]


class TestSending:
    async def test_text_and_ping(self, opened):
        opened.socket.send('{"a":"subscribe"}')
        opened.socket.ping()
        events = opened.take()
        assert [(event.opcode, event.data) for event in events] == [
            (Opcode.TEXT, b'{"a":"subscribe"}'),
            (Opcode.PING, b""),
        ]

    async def test_on_a_closing_socket_nothing_is_sent(self, opened):
        opened.server.send_close(1000)
        opened.give()
        opened.take()
        opened.socket.send("x")
        opened.socket.ping()
        assert opened.transport.written == b""


class TestEnding:
    async def test_the_peer_says_why(self, opened):
        opened.server.send_close(1001, "going away")
        opened.give()
        opened.socket.eof_received()
        assert opened.transport.eof
        opened.socket.connection_lost(None)
        assert opened.listener.lost == [(1001, "going away")]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [(None, "closed without a word"), (ConnectionResetError("reset"), "reset")],
    )
    async def test_it_just_breaks(self, opened, error, reason):
        opened.socket.connection_lost(error)
        opened.socket.connection_lost(error)
        assert opened.listener.lost == [(None, reason)]

    async def test_a_polite_close(self, opened):
        closing = asyncio.create_task(opened.socket.close())
        await settle()
        (event,) = opened.take()
        assert event.opcode is Opcode.CLOSE
        opened.give()
        opened.socket.connection_lost(None)
        await closing
        assert opened.listener.lost == [(1000, "")]
        assert not opened.transport.aborted

    async def test_closing_a_held_socket_reads_on(self, opened):
        opened.socket.pause()
        closing = asyncio.create_task(opened.socket.close())
        await settle()
        assert opened.transport.reading
        opened.socket.connection_lost(None)
        await closing

    async def test_a_peer_that_does_not_answer_is_cut(self, opened, monkeypatch):
        monkeypatch.setattr(socket_module, "CLOSE_SECONDS", 0)
        await opened.socket.close()
        assert opened.transport.aborted

    async def test_a_peer_that_closes_no_tcp_is_cut(self, opened, monkeypatch):
        monkeypatch.setattr(socket_module, "CLOSE_SECONDS", 0)
        opened.server.send_close(1000)
        opened.give()
        await settle()
        assert opened.transport.aborted


@pytest.mark.parametrize("root", ["ws://h", "wss://h.example", "ws://h:81", "wss://h/path"])
def test_roots(root):
    check_root(root)
    with pytest.raises(ValueError, match="no such port"):
        check_root("ws://h:99999")


def no_secret_in(error):
    """Neither in what an error shows, nor in anything that hangs on it."""
    seen = f"{error} {error!r} {error.__cause__!r} {error.__context__!r} {error.args}"
    frames = error.__traceback__
    while frames:
        seen += " ".join(
            repr(value)
            for name, value in frames.tb_frame.f_locals.items()
            if frames.tb_frame.f_code.co_filename == socket_module.__file__
        )
        frames = frames.tb_next
    return "SECRET" not in seen


async def test_frames_read_before_a_loss_are_delivered_after_the_first_resume(kit):
    kit.accept(resume=False)
    kit.server.send_text(b"x")
    kit.server.send_close(1001, "bye")
    kit.give()
    kit.socket.eof_received()
    kit.socket.connection_lost(None)
    assert kit.listener.lost == []
    kit.socket.resume()
    assert kit.listener.received == ["x"]
    assert kit.listener.lost == [(1001, "bye")]


async def test_debug_logging_of_everything_shows_no_secret(frame_reader, caplog):
    # set by the fixture, which takes it back: later tests must not hear more
    for name in ("", "websockets", "websockets.client", "connector"):
        caplog.set_level(logging.DEBUG, logger=name)
    kit = Kit()
    kit.accept()
    kit.socket.send("x")
    kit.socket.connection_lost(None)
    assert "SECRET" not in caplog.text
    assert "SECRET" not in repr(kit.socket)


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
class TestAFeedThatRepeatsTheToken:
    @pytest.fixture
    async def kit(self, frame_reader):
        kit = Kit(SecretStr(LONG_TOKEN))
        yield kit
        kit.socket.connection_lost(None)

    async def test_a_reason_is_redacted(self, opened, echo):
        # a close frame has room for 123 bytes: the token may be cut off in the middle
        opened.server.send_close(1011, f"no: {echo}".encode()[:123].decode(errors="ignore"))
        opened.give()
        opened.socket.eof_received()
        opened.socket.connection_lost(None)
        ((code, reason),) = opened.listener.lost
        assert code == 1011
        assert reason.startswith("no: ")
        assert "***" in reason
        assert shown_of(reason) < 8

    @pytest.mark.parametrize("padding", [0, 190, 280, 299])
    async def test_a_refusal_is_redacted_before_it_is_cut(self, kit, echo, padding):
        kit.take()
        body = f"{'x' * padding}: {echo}".encode()
        head = b"HTTP/1.1 403 No %s\r\nContent-Length: %d\r\n\r\n"
        kit.read(head % (LONG_TOKEN.encode(), len(body)) + body)
        with pytest.raises(HandshakeError) as caught:
            kit.socket.check_handshake("ws://feed")
        assert shown_of(f"{caught.value} {caught.value!r}") < 8
        assert len(caught.value.reason) <= 300

    async def test_texts_come_without_it_and_stay_json(self, opened, echo):
        order = {"type": "order", "data": {"order_id": "1", "status_message": echo, "price": 1.5}}
        opened.server.send_text(json.dumps(order).encode())
        opened.give()
        (text,) = opened.listener.received
        assert shown_of(text) < 8
        data = json.loads(text)["data"]
        assert (data["order_id"], data["price"]) == ("1", 1.5)
        assert "***" in data["status_message"]
