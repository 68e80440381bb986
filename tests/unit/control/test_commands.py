import json

import pytest

from connector.control.bounds import MAX_ERRORS
from connector.control.commands import COMMAND, Replace, SetMode, Status, Subscribe
from connector.control.parsing import Rejected, parse
from connector.kite.wire.models import Mode

INFY = 408065


def parsed(**fields):
    return parse(json.dumps(fields).encode(), 1_000_000)


def errors(**fields):
    result = parsed(**{"id": "1", **fields})
    assert isinstance(result, Rejected)
    assert result.id == "1"
    return list(result.errors)


def test_the_designs_example():
    command = parse(
        b'{"id": "a0", "type": "subscribe", "watchlist": "algo-1", '
        b'"instruments": ["NSE:INFY", 408065], "mode": "full"}',
        10_000,
    )
    assert command == Subscribe(
        id="a0",
        type="subscribe",
        watchlist="algo-1",
        instruments=("NSE:INFY", INFY),
        mode=Mode.FULL,
    )


def test_defaults():
    command = parsed(id="1", type="subscribe", instruments=[INFY])
    assert (command.watchlist, command.mode) == ("default", Mode.QUOTE)
    assert (command.dry_run, command.expires_at, command.expected_revision) == (False, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "unsubscribe", "instruments": [INFY]},
        {"type": "set-mode", "mode": "ltp"},
        {"type": "set-mode", "mode": "ltp", "instruments": ["NSE:NIFTY 50", "NSE:M&M"]},
        {"type": "replace", "watchlist": "a/b:c.d_e-f", "instruments": []},
        {"type": "delete", "watchlist": "a"},
        {"type": "reconnect", "slot": 0},
        {"type": "rebalance", "dry_run": True},
        {"type": "refresh-instruments"},
        {"type": "status", "expected_revision": 0},
    ],
)
def test_every_type(fields):
    command = parsed(id="1", **fields)
    assert command.type == fields["type"]


def test_every_model_is_a_type():
    kinds = {parsed(id="1", type="status").type}
    assert kinds == {"status"}
    assert len(COMMAND.json_schema()["discriminator"]["mapping"]) == 16


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1_767_585_600_000, 1_767_585_600_000),
        ("2026-01-05T04:00:00Z", 1_767_585_600_000),
        ("2026-01-05T09:30:00.250+05:30", 1_767_585_600_250),
    ],
)
def test_expires_at(value, milliseconds):
    assert parsed(id="1", type="status", expires_at=value).expires_at == milliseconds


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "type: is missing; one of subscribe"),
        ({"type": "subscibe"}, "type: must be one of subscribe"),
        ({"type": 3}, "type: must be one of subscribe"),
        (
            {"type": "subscribe", "instruments": [1] * 50_001},
            "instruments: must name at most 50000",
        ),
        ({"type": "subscribe"}, "instruments: is missing"),
        (
            {"type": "subscribe", "instruments": []},
            "instruments: must name at least one instrument",
        ),
        ({"type": "subscribe", "instruments": 5}, "instruments: must be a list"),
        (
            {"type": "subscribe", "instruments": [1], "mode": "depth"},
            "mode: must be ltp, quote or full",
        ),
        (
            {"type": "subscribe", "instruments": [1, 2.5]},
            "instruments[1]: must be an instrument token (1 to 4294967295) or EXCHANGE",
        ),
        ({"type": "subscribe", "instruments": [True]}, "instruments[0]: must be an instrument"),
        ({"type": "subscribe", "instruments": [0]}, "instruments[0]: must be an instrument"),
        ({"type": "subscribe", "instruments": [2**32]}, "instruments[0]: must be an instrument"),
        ({"type": "subscribe", "instruments": ["INFY"]}, "instruments[0]: must be an instrument"),
        ({"type": "subscribe", "instruments": ["NSE: "]}, "instruments[0]: must be an instrument"),
        (
            {"type": "subscribe", "instruments": [1], "watchlst": "a"},
            "watchlst: is not a field of this command",
        ),
        ({"type": "delete", "watchlist": "@settings"}, "watchlist: must begin with a letter"),
        ({"type": "delete", "watchlist": "a b"}, "watchlist: must begin with a letter"),
        ({"type": "delete"}, "watchlist: is missing"),
        ({"type": "replace", "instruments": [1]}, "watchlist: is missing"),
        ({"type": "set-mode"}, "mode: is missing"),
        ({"type": "reconnect", "slot": -1}, "slot: must be greater than or equal to 0"),
        ({"type": "reconnect", "slot": "1"}, "slot: must be a valid integer"),
        ({"type": "status", "dry_run": "yes"}, "dry_run: must be a valid boolean"),
        ({"type": "status", "expected_revision": -1}, "expected_revision: must be greater"),
        ({"type": "status", "expires_at": "2026-01-05T04:00:00"}, "expires_at: has no time zone"),
        ({"type": "status", "expires_at": "soon"}, "expires_at: must be epoch milliseconds"),
        ({"type": "status", "expires_at": True}, "expires_at: must be epoch milliseconds"),
        ({"type": "status", "expires_at": 1.5}, "expires_at: must be epoch milliseconds"),
    ],
)
def test_errors_name_the_field_and_the_reason(fields, error):
    assert [line[: len(error)] for line in errors(**fields)] == [error]


def test_all_errors_are_told_at_once():
    assert len(errors(type="subscribe", instruments=[0, "x"], mode="no", extra=1)) == 4


def test_a_long_list_of_errors_is_cut():
    lines = errors(type="subscribe", instruments=[0] * 100)
    assert len(lines) == MAX_ERRORS + 1
    assert lines[-1] == "and 80 more"


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"subscribe"',
        b"{}",
        b'{"id": NaN}',
        b'{"type": "status"}',
        b'{"type": "status", "id": ""}',
        b'{"type": "status", "id": 7}',
        b'{"type": "status", "id": "' + b"x" * 129 + b'"}',
        b"[" * 100_000,
        b'{"id": "1", "type": "status"}' + b" " * 1_000_000,
    ],
)
def test_without_an_id_nobody_can_be_answered(data):
    result = parse(data, 1_000_000)
    assert isinstance(result, Rejected)
    assert result.id is None
    assert result.errors


STATUS = '{"id": "1", "type": "status"}'


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\0\0\0\0\7" + STATUS.encode(), "five bytes of a schema registry's serializer"),
        (STATUS.encode("utf-16-le"), "UTF-16"),
        (b"\xef\xbb\xbf" + STATUS.encode(), "byte order mark"),
        (f"[{STATUS}]".encode(), "each command in a message of its own"),
        (json.dumps(STATUS).encode(), "made JSON twice"),
        (b'"status"', "not a JSON object"),
    ],
)
def test_what_other_programs_serializers_make_is_named(data, told):
    (error,) = parse(data, 1_000_000).errors
    assert told in error


def test_too_long_a_message_is_not_read():
    result = parse(b" " * 2000, 1024)
    assert result == Rejected(None, ("the message has 2000 bytes, 1024 are allowed",))


def test_an_id_is_any_text():
    assert parsed(id="Straße 1 / №7", type="status") == Status(id="Straße 1 / №7", type="status")


def test_commands_are_frozen_and_made_from_python_too():
    command = Replace(id="1", type="replace", watchlist="a", instruments=(INFY,))
    with pytest.raises(ValueError, match="frozen"):
        command.watchlist = "b"
    assert parse(command.model_dump_json().encode(), 1000) == command
    later = SetMode(id="1", type="set-mode", mode=Mode.LTP, expires_at=5)
    assert parse(later.model_dump_json().encode(), 1000) == later


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b31m", "a\u202eb", "\x00", "\x7f", "a\rb", "\u2028"]
)
def test_control_characters_are_refused_in_what_is_shown_again(text):
    """An id, an instrument and a watchlist stand on operators' terminals."""
    good = {"id": "1", "type": "subscribe", "instruments": [INFY]}
    for change in ({"id": text}, {"instruments": [f"NSE:A{text}B"]}, {"watchlist": f"a{text}"}):
        refused = parse(json.dumps({**good, **change}).encode(), 1_000_000)
        assert isinstance(refused, Rejected)
        assert all(error.isprintable() for error in refused.errors)
        # an answer under such an id would be no better
        assert refused.id == (None if "id" in change else "1")


def test_what_is_wrong_in_a_sequence_is_found():
    steps = [
        {"type": "delete", "watchlist": "a"},
        {"type": "reconnect", "slot": 1},
        {"type": "subscribe", "instruments": ["INFY"]},
        {"type": "delete", "watchlist": "a", "id": "2"},
    ]
    wrong = parsed(id="1", type="sequence", steps=steps)
    assert wrong.errors[0] == (
        "steps[1].type: must be one of subscribe, unsubscribe, set-mode, set-rule, "
        "delete-rule, set-limits, delete"
    )
    assert wrong.errors[1].startswith("steps[2].instruments[0]: must be an instrument token")
    assert wrong.errors[2] == "steps[3].id: is not a field of this command"
    many = [{"type": "subscribe", "instruments": list(range(1, 30_001))}] * 2
    assert "more than 50000" in parsed(id="1", type="sequence", steps=many).errors[0]
    assert parsed(id="1", type="sequence", steps=[]).errors


@pytest.mark.parametrize("target", [{}, {"slot": 0, "all": True}, {"all": False}])
def test_what_is_to_be_halted_is_named_once(target):
    assert parsed(id="1", type="stop", **target).errors == (
        "stop: give one of slot, account and all",
    )


CHAIN = {"type": "option-chain", "underlying": "NIFTY", "expiry": "nearest", "strikes": 10}


def test_a_rule_is_parsed_alone_and_as_a_step():
    step = {"type": "set-rule", "watchlist": "w", "rule": "chain", "claims": CHAIN, "mode": "full"}
    assert parsed(id="1", **step).claims.strikes == 10
    assert parsed(id="1", type="sequence", steps=[step]).steps[0].claims.underlying == "NIFTY"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"strikes": -1}, "strikes: must be greater than or equal to 0"),
        ({"strikes": 10**9}, "strikes: must be less than or equal to 500"),
        ({"expiry": "soon"}, "expiry: must be nearest, next, near-month, next-month or a day"),
        ({"expiry": "2026-02-30"}, "expiry: must be nearest, next, near-month, next-month or a"),
        ({"underlying": ""}, "underlying: must be the name of an underlying, such as NIFTY"),
        ({"exchange": "nfo"}, "exchange: must be an exchange in capital letters, such as NFO"),
        ({"spot": "NIFTY 50"}, "spot: must be EXCHANGE:TRADINGSYMBOL"),
        ({"pattern": "*"}, "pattern: is not a field of this rule"),
        ({"type": "all"}, "type: must be one of pattern, option-chain, futures"),
        ({"type": None}, "type: must be one of pattern, option-chain, futures"),
        ({f"f{n}": 1 for n in range(9)}, " has 13 fields, no rule has so many"),
    ],
)
def test_what_is_wrong_in_a_rule_is_found(change, error):
    step = {"type": "set-rule", "rule": "chain", "claims": {**CHAIN, **change}}
    (alone,) = parsed(id="1", **step).errors
    assert alone.startswith(("claims." + error, "claims:" + error))
    (within,) = parsed(id="1", type="sequence", steps=[step]).errors
    assert within.startswith(("steps[0].claims." + error, "steps[0].claims:" + error))


@pytest.mark.parametrize("rule", [None, 5, "NFO:NIFTY*", [], [CHAIN]])
def test_what_is_no_rule_is_refused(rule):
    step = {"type": "set-rule", "rule": "chain", "claims": rule}
    (error,) = parsed(id="1", **step).errors
    assert error.startswith("claims")


def test_a_pattern_of_every_exchange_is_refused():
    rule = {"type": "pattern", "pattern": "*"}
    (error,) = parsed(id="1", type="set-rule", rule="all", claims=rule).errors
    assert error.startswith("claims.pattern: must be EXCHANGE:PATTERN, such as NFO:NIFTY*")
    for name in ("", "a#b", "@a", "x" * 65):
        (error,) = parsed(id="1", type="set-rule", rule=name, claims=CHAIN).errors
        assert error.startswith("rule: must begin with a letter or digit")
    (error,) = parsed(id="1", type="delete", watchlist="w#chain").errors
    assert error.startswith("watchlist: must begin with a letter or digit")


@pytest.mark.parametrize("limit", [{"priority": 1001}, {"priority": -1001}, {"priority": 1.5},
                                   {"quota": 0}, {"quota": 300_001}, {"quota": True}])  # fmt: skip
def test_limits_have_bounds(limit):
    (error,) = parsed(id="1", type="set-limits", watchlist="w", **limit).errors
    assert error.startswith(next(iter(limit)))
    assert parsed(id="1", type="set-limits", watchlist="w", quota=300_000, priority=-1000).quota
