"""The parts of the Python twin; its behaviour as a whole is in test_interface.py."""

import io

import fastavro
import pytest

from connector.codec import _pure

EDGES = [0, 1, 63, 64, 8191, 8192, 2**20 - 1, 2**20, 2**27, 2**32, 2**41, 2**62, 2**63 - 1]


@pytest.mark.parametrize("number", [*EDGES, *(-edge for edge in EDGES), -(2**63)])
def test_long_is_avros(number):
    expected = io.BytesIO()
    fastavro.schemaless_writer(expected, "long", number)
    assert _pure.long_of(number) == expected.getvalue()


def test_string_is_avros():
    expected = io.BytesIO()
    fastavro.schemaless_writer(expected, "string", "NIFTY 50 ₹")
    assert _pure._string("NIFTY 50 ₹") == expected.getvalue()
