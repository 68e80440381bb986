import gzip
import random
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.proxy import ProxyError
from connector.kite.web.http import (
    MAX_MEMBERS,
    BodyError,
    Gunzip,
    failure_reason,
    read_body,
    usable_etag,
)


class Content:
    def __init__(self, chunks):
        self.chunks = chunks
        self.read = 0

    async def iter_chunked(self, _):
        for chunk in self.chunks:
            self.read += 1
            yield chunk


def answer(*chunks, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(headers=headers, content=Content(chunks))


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(1, 40))
def test_any_pieces_of_one_or_more_members_give_the_whole(one, two, size):
    unpacked = Gunzip(600)
    data = gzip.compress(one) + gzip.compress(two)
    assert b"".join(map(unpacked.feed, pieces(data, size))) == one + two
    unpacked.end()


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_stream_that_ends_early_is_not_whole(text, data):
    packed = gzip.compress(text)
    unpacked = Gunzip(600)
    unpacked.feed(packed[: data.draw(st.integers(1, len(packed) - 1))])
    with pytest.raises(BodyError, match="cut off"):
        unpacked.end()


def test_a_little_gzip_of_very_much_is_not_unpacked():
    unpacked = Gunzip(1000)
    with pytest.raises(BodyError, match="more than 1000 bytes"):
        unpacked.feed(gzip.compress(bytes(10**6)))


def test_many_members_together_have_the_same_bound():
    unpacked = Gunzip(1000)
    with pytest.raises(BodyError, match="more than 1000 bytes"):
        unpacked.feed(gzip.compress(bytes(400)) * 3)


def test_a_stream_of_empty_members_ends():
    unpacked = Gunzip(1000)
    empty = gzip.compress(b"")
    for _ in range(MAX_MEMBERS):
        unpacked.feed(empty)
    with pytest.raises(BodyError, match=f"more than {MAX_MEMBERS} members"):
        unpacked.feed(empty * 3)


@pytest.mark.parametrize("tail", [b"garbage", b"\x1f\x8b\xff"])
def test_what_is_behind_the_end_has_to_be_gzip_too(tail):
    def unpack():
        unpacked = Gunzip(1000)
        unpacked.feed(gzip.compress(b"list") + tail)
        unpacked.end()

    with pytest.raises(BodyError):
        unpack()


@pytest.mark.parametrize("headers", [{}, {"Content_Encoding": "GZip"}])
async def test_a_body_is_unpacked_where_it_is_gzip(headers):
    assert await read_body(answer(gzip.compress(b"list"), **headers), max_bytes=99) == b"list"
    assert await read_body(answer(b"plain"), max_bytes=99) == b"plain"
    assert await read_body(answer(), max_bytes=99) == b""


async def test_no_more_is_read_than_may_be():
    response = answer(*[b"x" * 10] * 1000)
    with pytest.raises(BodyError, match="more than 25 bytes"):
        await read_body(response, max_bytes=25)
    assert response.content.read == 3
    noise = gzip.compress(random.Random(1).randbytes(1000))
    with pytest.raises(BodyError, match="more than 500 bytes"):
        await read_body(answer(noise), max_bytes=10_000, max_wire_bytes=500)


async def test_what_is_said_to_be_gzip_has_to_be():
    with pytest.raises(BodyError, match="damaged"):
        await read_body(answer(b"<html>", Content_Encoding="gzip"), max_bytes=99)


@pytest.mark.parametrize("packed", ["br", "zstd", "deflate", "gzip, gzip", "\x1b[2J"])
async def test_what_is_packed_in_another_way_is_named(packed):
    with pytest.raises(BodyError, match="not asked for") as caught:
        await read_body(answer(b"\xce\xfa", Content_Encoding=packed), max_bytes=99)
    assert str(caught.value).isprintable()


def tls_error(reason):
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return error


def caused(error, reason):
    """As aiohttp raises it of a connection that stood."""
    error.__cause__ = tls_error(reason)
    return error


KEY = SimpleNamespace(host="secret.example", port=443, is_ssl=True, ssl=True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connect call failed")),
            "Connection refused",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")),
            "Name or service not known",
        ),
        (aiohttp.ClientConnectorError(KEY, OSError()), "no connection"),
        (aiohttp.ClientConnectorError(KEY, ConnectionResetError()), "Connection reset by peer"),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "Connection reset by peer"),
        (aiohttp.ClientOSError("Can not write request body"), "the connection broke"),
        (
            caused(aiohttp.ClientOSError(1, "[SSL]"), "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "no TLS connection: it asks for a client's certificate",
        ),
        (
            aiohttp.ClientConnectorSSLError(KEY, tls_error("WRONG_VERSION_NUMBER")),
            "no TLS connection: what listens there speaks no TLS",
        ),
        (
            aiohttp.ClientConnectorSSLError(KEY, tls_error("UNKNOWN_ALERT")),
            "no TLS connection: UNKNOWN_ALERT",
        ),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("self-signed")),
            "its TLS certificate is not trusted",
        ),
        (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "x")), "no TLS connection: refused"),
        (aiohttp.ClientHttpProxyError(None, (), status=407), "the proxy answers 407"),
        (ProxyError("the proxy hung up"), "the proxy hung up"),
        (BodyError("an answer of more than 7 bytes"), "an answer of more than 7 bytes"),
        (aiohttp.ClientPayloadError("Response payload is not completed"), "the answer is cut off"),
        (aiohttp.ServerDisconnectedError(), "closed without an answer"),
        (
            aiohttp.ClientResponseError(None, (), status=400, message="Bad status line 'ICY'"),
            "what came is no answer of HTTP: is something else listening there?",
        ),
        (aiohttp.InvalidURL("http://secret.example"), "InvalidURL"),
    ],
)
def test_a_cause_is_named_without_the_address(error, reason):
    assert failure_reason(error) == reason


@pytest.mark.parametrize("told", ['"a"', 'W/"a-b"', "*", '"' + "a" * 198 + '"'])
def test_an_etag_is_kept_to_be_sent_back(told):
    assert usable_etag(told) == told


@pytest.mark.parametrize(
    "told", ["", '"a\x01"', '"a\tb"', '"\udcff"', '"\u00e9"', "a" * 201, None, 5, ["a"]]
)
def test_one_that_could_not_be_sent_or_read_is_none(told):
    assert usable_etag(told) is None
