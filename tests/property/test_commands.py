"""Whatever bytes come, `parse` gives a command or tells what is wrong."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from connector.control.parsing import Rejected, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
names = st.sampled_from(
    [
        "id", "type", "watchlist", "instruments", "mode", "slot", "dry_run", "expires_at",
        "expected_revision", "extra",
    ]
)  # fmt: skip
types = st.sampled_from(
    [
        "subscribe", "unsubscribe", "set-mode", "replace", "delete", "reconnect", "rebalance",
        "refresh-instruments", "status",
    ]
)  # fmt: skip
instruments = st.lists(
    st.integers(-1, 2**33) | st.sampled_from(["NSE:INFY", "NSE:NIFTY 50", "INFY", ":", "NSE:"]),
    max_size=5,
)
nearly = st.builds(
    lambda fields, known: {**fields, **known},
    st.dictionaries(names, json_values, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(min_size=1, max_size=130),
            "type": types,
            "watchlist": st.text(max_size=5),
            "instruments": instruments,
            "mode": st.sampled_from(["ltp", "quote", "full", "FULL", ""]),
            "expires_at": st.integers() | st.datetimes().map(lambda time: time.isoformat() + "Z"),
        },
    ),
)


def check(data):
    result = parse(data, 10_000)
    if isinstance(result, Rejected):
        assert result.errors
        assert all(isinstance(line, str) and line for line in result.errors)
        assert result.id is None or 1 <= len(result.id) <= 128
    else:
        # what was understood can be written again, and is then understood alike
        assert parse(result.model_dump_json(exclude_none=True).encode(), 100_000) == result


@given(st.binary())
@example(b"\xef\xbb\xbf{}")
@example(b'{"id": "1", "type": "status", "expires_at": ' + b"9" * 400 + b"}")
@example(b'{"id": "\\ud800", "type": "status"}')
@example(b'{"id": "1", "type": "status", "expires_at": "0001-01-01T00:00:00+23:59"}')
@example(b'{"id": "1", "type": "status", "expires_at": "9999-12-31T23:59:59-23:59"}')
def test_any_bytes(data):
    check(data)


@given(nearly)
def test_nearly_commands(fields):
    check(json.dumps(fields).encode())
