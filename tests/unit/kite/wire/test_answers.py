import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.wire.answers import (
    MAX_READ_BYTES,
    KiteError,
    kite_error,
    page_words,
    plain_body,
)


def test_an_error_of_kites():
    body = b'{"status": "error", "message": "Wrong.", "data": null, "error_type": "TokenException"}'
    assert kite_error(body) == KiteError("TokenException", "Wrong.")
    assert kite_error(b'{"error_type": "DataException"}') == KiteError("DataException", "")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"<html>", b'{"error_type": null}', b'{"error_type": ""}', b"\xff\xfe",
     b'{"message": "x"}', b"[" * 8000],
)  # fmt: skip
def test_what_is_not_kites(body):
    assert kite_error(body) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b" Forbidden.\n", ""),
        (b"<title>FORBIDDEN</title>", ""),
        (b"<html><body>Blocked<br>by <b>us</b></body>", "Blocked by us"),
        (b"<style>a{}</style><script>if (1 < 2) {}</script>Blocked", "Blocked"),
        (b"<script>never ends Blocked", ""),
        (b"a < b and c > d", "a < b and c > d"),
        (b"tab\tand\x00\x1b[31m", "tab and [31m"),
        ("\u202egnirts".encode(), "gnirts"),
    ],
)
def test_the_words_of_a_page(body, words):
    assert page_words(body, "Forbidden") == words


@given(
    st.binary(max_size=500) | st.text(alphabet="<>/!-script style", max_size=300).map(str.encode)
)
def test_any_page_is_read_and_printable(body):
    assert page_words(body).isprintable()
    kite_error(body)


def test_gzip_that_nobody_asked_for_is_unpacked_within_a_bound():
    assert plain_body(b"plain") == b"plain"
    assert plain_body(gzip.compress(b"<p>no</p>")) == b"<p>no</p>"
    assert plain_body(gzip.compress(bytes(10 * MAX_READ_BYTES))) == bytes(MAX_READ_BYTES)
    assert plain_body(b"\x1f\x8bnoise of some length") == b"an answer in damaged gzip"
