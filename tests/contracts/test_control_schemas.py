"""The JSON Schemas in schemas/ say what the models accept."""

import json
from pathlib import Path

import jsonschema
import pytest

from connector.control.commands import COMMAND
from connector.control.contract import json_schemas
from connector.control.parsing import Rejected, parse
from connector.control.records import Subscription
from connector.control.reply import Reply, ReplyStatus
from connector.kite.wire.models import Mode

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_the_file_is_current(name):
    assert (SCHEMAS / name).read_text() == json_schemas()[name], (
        "run: python -m connector.control.contract"
    )


CHAIN = {"type": "option-chain", "underlying": "NIFTY", "strikes": 5, "expiry": "2026-12-29"}
FUTURES = {"type": "futures", "exchange": "NFO", "expiry": "2026-12-01/2026-12-29"}


def validator(name):
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / name).read_text()))


@pytest.mark.parametrize(
    "command",
    [
        {"id": "1", "type": "subscribe", "instruments": ["NSE:INFY", 408065], "mode": "full"},
        {"id": "1", "type": "unsubscribe", "watchlist": "a", "instruments": [408065]},
        {"id": "1", "type": "set-mode", "mode": "ltp"},
        {"id": "1", "type": "replace", "watchlist": "a", "instruments": [], "dry_run": True},
        {"id": "1", "type": "delete", "watchlist": "a", "expected_revision": 7},
        {"id": "1", "type": "reconnect", "slot": 0, "expires_at": 1_767_585_600_000},
        {"id": "1", "type": "rebalance", "expires_at": "2026-01-05T09:30:00+05:30"},
        {"id": "1", "type": "refresh-instruments"},
        {"id": "1", "type": "status"},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": CHAIN, "mode": "full"},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": FUTURES},
        {"id": "1", "type": "sequence", "steps": [{"type": "delete-rule", "rule": "a"}]},
        {"id": "1", "type": "set-limits", "watchlist": "a", "quota": 5, "priority": -1},
        # and what both must refuse
        {"id": "1", "type": "set-limits", "watchlist": "a", "priority": 1001},
        {"id": "1", "type": "set-limits", "watchlist": "a", "quota": 0},
        {"id": "1", "type": "set-rule", "rule": "a#b", "claims": CHAIN},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": {**CHAIN, "strikes": -1}},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": {**CHAIN, "expiry": "soon"}},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": {**FUTURES, "strikes": 1}},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": {**FUTURES, "exchange": "*"}},
        {"id": "1", "type": "set-rule", "rule": "a", "claims": {"type": "pattern", "pattern": "*"}},
        {"id": "", "type": "status"},
        {"id": "1", "type": "sleep"},
        {"id": "1", "type": "status", "watchlist": "a"},
        {"id": "1", "type": "subscribe", "instruments": []},
        {"id": "1", "type": "subscribe", "instruments": ["INFY"]},
        {"id": "1", "type": "subscribe", "instruments": [0]},
        {"id": "1", "type": "subscribe", "instruments": [1], "mode": "depth"},
        {"id": "1", "type": "delete", "watchlist": "@settings"},
        {"id": "1", "type": "reconnect", "slot": -1},
    ],
)
def test_schema_and_parser_agree(command):
    accepted = not isinstance(parse(json.dumps(command).encode(), 10_000), Rejected)
    assert validator("command.json").is_valid(command) == accepted


def test_a_reply_and_a_subscription_are_as_their_schemas_say():
    reply = Reply(
        id="1",
        status=ReplyStatus.APPLIED,
        revision=1,
        refused=[{"instrument": "NSE:X", "reason": "no room"}],
    )
    validator("reply.json").validate(json.loads(reply.encoded()))
    record = Subscription(0, {"a": Mode.FULL}, "NSE:INFY", 1).encoded(408065)
    validator("subscription.json").validate(json.loads(record))


def test_the_dead_letter_of_a_message_is_as_its_schema_says():
    headers = {
        "reason": "invalid_command",
        "receive_time_us": "1767585600000000",
        "errors": "not JSON",
        "offset": "41",
    }
    letter = {"key": "kite.control", "value": "", "headers": headers}
    validator("dead_letter.json").validate(letter)


def test_the_documented_command_types_are_all():
    assert set(COMMAND.json_schema()["discriminator"]["mapping"]) == {
        "subscribe",
        "unsubscribe",
        "set-mode",
        "replace",
        "set-rule",
        "delete-rule",
        "set-limits",
        "delete",
        "sequence",
        "reconnect",
        "pause",
        "stop",
        "resume",
        "rebalance",
        "refresh-instruments",
        "status",
    }
