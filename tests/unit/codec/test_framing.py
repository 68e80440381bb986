import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.codec.framing import FRAMING_BYTES, framing, schema_id_of


@given(st.integers(min_value=0, max_value=2**32 - 1), st.binary(max_size=8))
def test_an_id_is_read_as_it_was_framed(schema_id, body):
    framed = framing(schema_id)
    assert len(framed) == FRAMING_BYTES
    assert schema_id_of(framed + body) == schema_id


def test_a_framing_is_that_of_confluent():
    assert framing(0x0102_0304) == b"\x00\x01\x02\x03\x04"


@pytest.mark.parametrize("value", [b"", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01\x02", b"{}"])
def test_what_is_not_framed_has_no_id(value):
    assert schema_id_of(value) is None
