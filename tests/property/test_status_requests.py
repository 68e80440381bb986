"""Whatever bytes come to the status server: HTTP answers, or a closed connection, and no log."""

import asyncio
import itertools
import logging

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.kite.web.http_server import MAX_HEAD_BYTES, ServerConnection
from connector.service.pages import Pages
from tests.support.status import service_status

PAGES = Pages(service_status)


class Transport(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.closed = False

    def writelines(self, parts):
        self.written += b"".join(parts)

    def get_write_buffer_size(self):
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.closed = True

    def abort(self):
        self.closed = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def answered(data, cuts=()):
    """(statuses of the answers, whether it was closed) after these bytes, in pieces."""

    async def feed():
        transport = Transport()
        connection = ServerConnection(lambda asked: PAGES.answer(asked.path, asked.accept), "peer")
        connection.connection_made(transport)
        edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
        for start, end in itertools.pairwise(edges):
            connection.data_received(data[start:end])
        # what waits for its turn would be answered by a timer
        while not (transport.closed or connection.answering or connection._timer is None):
            before = transport.written
            connection._next()
            if transport.written == before:
                break
        connection.connection_lost(None)
        return transport

    transport = asyncio.run(feed())
    statuses, rest = [], transport.written
    while rest:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        event = client.next_event()
        assert isinstance(event, h11.Response), event
        statuses.append(event.status_code)
        while not isinstance(event, h11.EndOfMessage):
            event = client.next_event()
            assert isinstance(event, h11.Data | h11.EndOfMessage), event
        rest = client.trailing_data[0]
    return statuses, transport.closed


def get(path=b"/live", method=b"GET", headers=b"", version=b"1.1"):
    return b"%s %s HTTP/%s\r\nHost: x\r\n%s\r\n" % (method, path, version, headers)


PIECES = st.sampled_from(
    [
        b"GET ", b"POST ", b"CONNECT ", b"/live", b"/metrics", b"/status", b"*", b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n", b" HTTP/2\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
        b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Connection: close\r\n", b"Accept: a;q=nan\r\n", b"\r\n", b"\n", b"\0", b"\xff", b":",
        b"5\r\nhello\r\n0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00",
    ]
)  # fmt: skip
BYTES = st.lists(PIECES | st.binary(max_size=20), max_size=20).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(BYTES, st.lists(st.integers(0, 500), max_size=5))
def test_any_bytes_get_clean_answers_or_a_closed_connection(data, cuts):
    noise = []
    handler = logging.Handler()
    handler.emit = noise.append
    logging.getLogger().addHandler(handler)
    try:
        statuses, closed = answered(data, cuts)
    finally:
        logging.getLogger().removeHandler(handler)
    assert set(statuses) <= {200, 400, 404, 405, 413, 431, 501}
    assert closed or not set(statuses) - {200, 404}, "an odd request is the connection's last"
    assert noise == []


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_junk_before_a_request_is_never_taken_for_one(junk):
    statuses, closed = answered(b"\x00" + junk + b"\r\n\r\n" + get())
    assert statuses == [400]
    assert closed


@settings(deadline=None)
@given(st.text().map(lambda text: text.encode().replace(b"\r", b"").replace(b"\n", b"")))
def test_any_accept_header_of_metrics_is_answered(accept):
    statuses, _ = answered(get(b"/metrics", headers=b"Accept: " + accept + b"\r\n"))
    assert statuses in ([200], [400])


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"/live", b"/ready", b"/nothing"]), min_size=1, max_size=8))
def test_requests_sent_at_once_are_answered_in_order(paths):
    statuses, closed = answered(b"".join(get(path) for path in paths))
    assert statuses == [404 if path == b"/nothing" else 200 for path in paths]
    assert not closed


def test_each_kind_of_odd_request_has_its_answer():
    for data, status in [
        (get(method=b"POST"), 405),
        (get(method=b"BREW"), 405),
        (get(method=b"CONNECT", path=b"x:1"), 405),
        (get(headers=b"Content-Length: 5\r\n") + b"hello", 413),
        (get(headers=b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello", 413),
        (get(headers=b"Expect: 100-continue\r\nContent-Length: 5\r\n"), 413),
        (get(headers=b"Transfer-Encoding: gzip\r\n"), 501),
        (get(headers=b"X: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n"), 431),
        (b"GET /" + b"a" * (MAX_HEAD_BYTES + 1), 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\n\r\n", 400),
    ]:
        assert answered(data) == ([status], True), data[:60]
    assert answered(get(version=b"1.0", path=b"/live")) == ([200], True)
    assert answered(get(path=b"/live?x=%00")) == ([200], False)
