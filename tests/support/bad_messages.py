"""A hundred kinds of message that are no command, or none that can be done.

All are harmless to the programs of others: what is huge has less than a message may have.
"""

from __future__ import annotations

import gzip
import json
from typing import NamedTuple

from connector.control.bounds import MAX_INSTRUMENTS, MAX_STEPS

ANSWERED, PUT_ASIDE = "answered", "put aside"
FULL_BYTES = 999_000
"""About what a Kafka message holds by default."""


class Bad(NamedTuple):
    """A message, and whether it has an id under which it can be answered."""

    name: str
    value: bytes | None
    becomes: str
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def _answered(name, command_id="bad", **fields):
    return Bad(name, json.dumps({"id": command_id, **fields}).encode(), ANSWERED)


def _aside(name, value, **options):
    return Bad(name, value, PUT_ASIDE, **options)


def _text(name, text):
    return Bad(name, text.encode(), ANSWERED)


def _padded(begin, filler, end, total=FULL_BYTES):
    return begin + filler * ((total - len(begin) - len(end)) // len(filler)) + end


SUBSCRIBE = {"type": "subscribe", "instruments": [257]}
_ONE = json.dumps({"id": "bad", **SUBSCRIBE})

NO_JSON = [
    _aside("tombstone", None),
    _aside("tombstone with a key", None, key=b"some key"),
    _aside("empty", b""),
    _aside("blank", b" \t\r\n"),
    _aside("a word", b"subscribe"),
    _aside("a number", b"17"),
    _aside("a string", b'"subscribe"'),
    _aside("null", b"null"),
    _aside("true", b"true"),
    _aside("a list", b"[]"),
    _aside("a list of commands", f"[{_ONE},{_ONE}]".encode()),
    _aside("two commands", f"{_ONE}{_ONE}".encode()),
    _aside("two lines", f"{_ONE}\n{_ONE}".encode()),
    _aside("cut off", _ONE[:-3].encode()),
    _aside("trailing comma", f"{_ONE[:-1]},}}".encode()),
    _aside("single quotes", _ONE.replace('"', "'").encode()),
    _aside("a comment", f"/* */{_ONE}".encode()),
    _aside("unquoted keys", b"{id: 1, type: status}"),
    _aside("YAML", b"id: 1\ntype: status\n"),
    _aside("XML", b"<command id='1' type='status'/>"),
    _aside("a file name", b"@command.json"),
    _aside("a query", b"id=1&type=status"),
    _aside("NaN", b'{"id": NaN, "type": "status"}'),
    _aside("Infinity", b'{"id": "1", "type": "status", "expires_at": Infinity}'),
    _aside("minus Infinity", b'{"id": "1", "type": "status", "expires_at": -Infinity}'),
    _aside("leading zero", b'{"id": "1", "type": "reconnect", "slot": 01}'),
    _aside("hexadecimal", b'{"id": "1", "type": "reconnect", "slot": 0x1}'),
    _aside("a number of many digits", b'{"id": "1", "slot": ' + b"9" * 10_000 + b"}"),
    _aside("a raw line break in a string", b'{"id": "a\nb", "type": "status"}'),
    _aside("a raw NUL in a string", b'{"id": "a\0b", "type": "status"}'),
    _aside("a bad escape", rb'{"id": "\x41", "type": "status"}'),
    _aside("half a surrogate pair", rb'{"id": "\ud800", "type": "status"}'),
    _aside("the other half", rb'{"id": "1", "type": "\udfff"}'),
    _aside("half a pair as a key", rb'{"id": "1", "\ud800": 1}'),
    _aside("a surrogate in UTF-8", b'{"id": "\xed\xa0\x80", "type": "status"}'),
    _aside("overlong UTF-8", b'{"id": "\xc0\xaf", "type": "status"}'),
    _aside("Latin-1", '{"id": "Zürich", "type": "status"}'.encode("latin-1")),
    _aside("UTF-8 with a byte order mark", b"\xef\xbb\xbf" + _ONE.encode()),
    _aside("UTF-16", _ONE.encode("utf-16")),
    _aside("UTF-16 without a mark", _ONE.encode("utf-16-le")),
    _aside("UTF-32", _ONE.encode("utf-32")),
    _aside("binary", bytes(range(256))),
    _aside("zeros", bytes(4096)),
    _aside("gzip", gzip.compress(_ONE.encode())),
    _aside("many zeros in gzip", gzip.compress(bytes(5_000_000))),
    _aside("framed as Avro", b"\0\0\0\0\7\x02\x04"),
    _aside("MessagePack", b"\x82\xa2id\xa11\xa4type\xa6status"),
    _aside("a thousand brackets", b"[" * 1000),
    _aside("a hundred thousand brackets", b"[" * 100_000),
    _aside("nested a thousand deep", b'{"id": "1", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
    _aside("objects a thousand deep", b'{"a":' * 1000 + b"1" + b"}" * 1000),
    _aside("a full message of x", b"x" * FULL_BYTES),
    _aside("a full message of 0xff", b"\xff" * FULL_BYTES),
    _aside("a full message of blanks", b" " * FULL_BYTES),
    _aside("a full message of brackets", b"[" * FULL_BYTES),
    _aside("a full message of escapes", _padded(b'["', b"\\u0000", b'"]')),
    _aside("a full list of lists", _padded(b"[[]", b",[]", b"]")),
    _aside("an unknown compression's magic", b"\x28\xb5\x2f\xfd" + b"\0" * 100),
]
NO_ID = [
    _aside("no id", json.dumps(SUBSCRIBE).encode()),
    _aside("id null", json.dumps({"id": None, **SUBSCRIBE}).encode()),
    _aside("id a number", json.dumps({"id": 7, **SUBSCRIBE}).encode()),
    _aside("id a list", json.dumps({"id": ["1"], **SUBSCRIBE}).encode()),
    _aside("id an object", json.dumps({"id": {"id": "1"}, **SUBSCRIBE}).encode()),
    _aside("id true", json.dumps({"id": True, **SUBSCRIBE}).encode()),
    _aside("id empty", json.dumps({"id": "", **SUBSCRIBE}).encode()),
    _aside("id too long", json.dumps({"id": "x" * 129, **SUBSCRIBE}).encode()),
    _aside("id as long as a message", _padded(b'{"type":"status","id":"', b"x", b'"}')),
    _aside("id of escapes", json.dumps({"id": "\x1b]0;owned\x07", **SUBSCRIBE}).encode()),
    _aside("id of two lines", json.dumps({"id": "a\r\nb", **SUBSCRIBE}).encode()),
    _aside("id that turns the writing", json.dumps({"id": "\u202ecba", **SUBSCRIBE}).encode()),
    _aside("ID", json.dumps({"ID": "1", **SUBSCRIBE}).encode()),
    _aside("two ids", b'{"id": "a", "id": "b", "type": "status"}'),
    _aside("no id and a huge key", _padded(b'{"type":"status","', b"k", b'":1}', 600_000)),
    _aside("an empty object", b"{}"),
]
FIELDS = [
    _answered("no type"),
    _answered("unknown type", type="subscibe"),
    _answered("type a number", type=3),
    _answered("type null", type=None),
    _answered("type in capitals", type="SUBSCRIBE", instruments=[257]),
    _answered("type a huge text", type="x" * 900_000),
    _answered("an unknown field", **SUBSCRIBE, watchlst="a"),
    _answered("a hundred unknown fields", **SUBSCRIBE, **{f"field_{n}": n for n in range(100)}),
    _text("an unknown field as long as a message", f'{_ONE[:-1]}, "{"k" * 998_000}": 1}}'),
    _text("a hundred thousand fields", "{" + ",".join(f'"{n}":1' for n in range(90_000))
          + ', "id": "bad"}'),
    _answered("a field named like a place", type="subscribe", **{"instruments[": [257]}),
    _answered("fields named like places", **SUBSCRIBE,
              **{"instruments[0]": 1, "instruments[": 1, "": 1, "type.mode": 1, "mode ": "full"}),
    _answered("a sequence of steps without end", type="sequence", steps=[{}] * 200_000),
    _answered("a sequence of as many wrong steps as may be", type="sequence",
              steps=[dict.fromkeys("abcdefgh")] * MAX_STEPS),
    _answered("a step of forty thousand fields", type="sequence",
              steps=[{"type": "delete", **{str(n): n for n in range(40_000)}}]),
    _answered("a sequence of numbers", type="sequence", steps=[1, None, [], ""]),
    _answered("a sequence in a sequence", type="sequence",
              steps=[{"type": "sequence", "steps": [{"type": "delete", "watchlist": "w"}]}]),
    _answered("a step of instruments that are none", type="sequence",
              steps=[{"type": "subscribe", "instruments": ["x"] * 100_000}]),
    _text("a field of escapes", f'{_ONE[:-1]}, "\\u001b[2J\\u0007": 1}}'),
    _text("a field that turns the writing", f'{_ONE[:-1]}, "\\u202egnp.exe": 1}}'),
    _text("the same field twice", f'{_ONE[:-1]}, "watchlist": "keep", "watchlist": "algo"}}'),
    _text("the same field thrice", f'{_ONE[:-1]}, "mode": "ltp", "mode": "ltp", "mode": "ltp"}}'),
    _text("the same field, once escaped", f'{_ONE[:-1]}, "mode": "ltp", "mod\\u0065": "full"}}'),
    _text("the same key twice, deep inside", f'{_ONE[:-1]}, "x": [{{"a": {{"b": 1, "b": 2}}}}]}}'),
    _answered("no instruments", type="subscribe"),
    _answered("instruments empty", type="subscribe", instruments=[]),
    _answered("instruments a number", type="subscribe", instruments=257),
    _answered("instruments a text", type="subscribe", instruments="NSE:A"),
    _answered("instruments an object", type="subscribe", instruments={"0": 257}),
    _answered("instruments null", type="replace", watchlist="w", instruments=None),
    _answered("instruments of instruments", type="subscribe", instruments=[[257]]),
    _answered("one instrument too many", type="replace", watchlist="w",
              instruments=[1] * (MAX_INSTRUMENTS + 1)),
    _answered("wrong instruments as many as may be", type="subscribe",
              instruments=[0] * MAX_INSTRUMENTS),
    _answered("empty lists for instruments", type="subscribe", instruments=[[]] * 200_000),
    _answered("an instrument of a fraction", type="subscribe", instruments=[257.5]),
    _answered("an instrument as a text of digits", type="subscribe", instruments=["257"]),
    _answered("an instrument below zero", type="subscribe", instruments=[-1]),
    _answered("an instrument of 33 bits", type="subscribe", instruments=[1 << 32]),
    _answered("an instrument of 4000 digits", type="subscribe", instruments=[10**4000]),
    _answered("an instrument true", type="subscribe", instruments=[True]),
    _answered("an instrument null", type="subscribe", instruments=[None]),
    _answered("an instrument without exchange", type="subscribe", instruments=["INFY"]),
    _answered("an instrument of escapes", type="subscribe", instruments=["\x1b[2JNSE:INFY"]),
    _answered("an instrument with escapes", type="subscribe", instruments=["NSE:\x1b[2JINFY"]),
    _answered("an instrument of two lines", type="subscribe", instruments=["NSE:IN\nFY"]),
    _answered("an instrument as long as a message", type="subscribe",
              instruments=["NSE:" + "X" * 900_000]),
    _answered("a name that nobody has", type="subscribe", instruments=["NSE:NO SUCH NAME"]),
    _answered("a token of no exchange", type="subscribe", instruments=[77]),
    _answered("watchlist empty", **SUBSCRIBE, watchlist=""),
    _answered("watchlist a number", **SUBSCRIBE, watchlist=1),
    _answered("watchlist of the settings", **SUBSCRIBE, watchlist="@settings:full"),
    _answered("watchlist too long", **SUBSCRIBE, watchlist="w" * 65),
    _answered("watchlist as long as a message", **SUBSCRIBE, watchlist="w" * 900_000),
    _answered("watchlist with a line break", **SUBSCRIBE, watchlist="a\nb"),
    _answered("watchlist that nobody has", type="delete", watchlist="nobody"),
    _answered("mode unknown", **SUBSCRIBE, mode="depth"),
    _answered("mode in capitals", **SUBSCRIBE, mode="FULL"),
    _answered("mode a number", **SUBSCRIBE, mode=1),
    _answered("mode null", **SUBSCRIBE, mode=None),
    _answered("slot below zero", type="reconnect", slot=-1),
    _answered("slot a text", type="reconnect", slot="1"),
    _answered("slot that nobody has", type="reconnect", slot=999),
    _answered("slot of 4000 digits", type="reconnect", slot=10**4000),
    _answered("dry_run a text", **SUBSCRIBE, dry_run="true"),
    _answered("dry_run a number", **SUBSCRIBE, dry_run=1),
    _answered("expires_at without zone", **SUBSCRIBE, expires_at="2026-01-05T04:00:00"),
    _answered("expires_at a word", **SUBSCRIBE, expires_at="soon"),
    _answered("expires_at a fraction", **SUBSCRIBE, expires_at=1.5),
    _answered("expires_at in the past", **SUBSCRIBE, expires_at=1),
    _answered("expires_at before all time", **SUBSCRIBE, expires_at=-(10**4000)),
    _answered("expires_at of 4000 digits", **SUBSCRIBE, expires_at=10**4000),
    _answered("expected_revision below zero", **SUBSCRIBE, expected_revision=-1),
    _answered("expected_revision of the future", **SUBSCRIBE, expected_revision=10**12),
    _answered("expected_revision of 4000 digits", **SUBSCRIBE, expected_revision=10**4000),
    _answered("after a number", type="status", after=1),
]  # fmt: skip
RECORDS = [
    Bad("a huge key beside a command that cannot be done", _answered("", type="rebalanc").value,
        ANSWERED, key=b"k" * 500_000),
    Bad("a key that is no text", _answered("", type="rebalanc").value, ANSWERED, key=b"\xff\0"),
    Bad("an empty key", b"x", PUT_ASIDE, key=b""),
    Bad("huge headers", b"x", PUT_ASIDE, headers=(("h", b"v" * 400_000), ("h", b"w" * 400_000))),
    Bad("a thousand headers", b"x", PUT_ASIDE,
        headers=tuple((f"h{n}", b"v") for n in range(1000))),
]  # fmt: skip

BAD_MESSAGES = [*NO_JSON, *NO_ID, *FIELDS, *RECORDS]


def numbered(bad: Bad, number: int) -> Bad:
    """The same kind under an id of its own, `bad-17` for 17."""
    if bad.value is None:
        return bad
    return bad._replace(value=bad.value.replace(b'"id": "bad"', b'"id": "bad-%d"' % number, 1))
