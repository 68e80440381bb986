"""Two short trading days, as the connector would write them: framed by its codec, with its faults.

The feed is the wire's own bytes. Of its ticks some are lost, some are delivered twice, some come a
few seconds out of the order of their event times (never as much as a reader's watermark allows),
many share an event time, and a slot reconnects in the middle.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import fastavro

from connector import schemas
from connector.codec import Transcoder
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange
from connector.simulator import wire

GOLDEN = Path(__file__).parents[2] / "golden"
DAY_MS = 86_400_000
START_MS = 1_767_585_600_000  # 2026-01-05 04:00 UTC, 09:30 in India
STEP_MS = 200
MAX_DELAY_SECONDS = 3

NEW_FIELD = {"name": "market_phase", "type": ["null", "string"], "default": None}


@dataclass(frozen=True)
class Record:
    topic: str
    key: bytes
    value: bytes | None
    timestamp_ms: int


@dataclass
class Instrument:
    token: int
    mode: str
    price: int  # the wire's integer
    symbol: str | None = None
    volume: int = 0
    prices: list[int] = field(default_factory=list)


def tick_schema_id(record: Record) -> int:
    return int.from_bytes(record.value[1:5], "big")


def instruments() -> dict[int, list[Instrument]]:
    """By slot; no instrument of CDS, so that whole topics stay empty."""
    return {
        0: [
            Instrument(408065, "full", 150_000, "INFY"),
            Instrument((3 << 8) | Exchange.NSE.value, "quote", 9_000, "IDEA"),
            Instrument((5 << 8) | Exchange.NSE.value, "ltp", 41_000),
        ],
        1: [
            Instrument((40 << 8) | Exchange.NFO.value, "full", 2_500_000, "NIFTY26JANFUT"),
            Instrument((41 << 8) | Exchange.NFO.value, "full", 12_000),
            Instrument((1 << 8) | Exchange.INDICES.value, "full", 2_490_000, "NIFTY 50"),
        ],
    }


def records(names: TopicNames, schema_ids: dict[str, int], *, minutes: int = 4) -> list[Record]:
    """In the order of production; a few thousand for the usual four minutes."""
    dice = random.Random(20260105)
    made: list[Record] = []
    for day in range(2):
        by_slot = instruments()
        slots = {}
        for slot, there in by_slot.items():
            coder = Transcoder(names.all_ticks(), schema_ids, slot)
            coder.set_symbols({one.token: one.symbol for one in there if one.symbol})
            slots[slot] = coder
            _open(coder, there, START_MS + day * DAY_MS - 1000 - slot)
        recent: list[Record] = []
        for step in range(minutes * 60_000 // STEP_MS):
            now_ms = START_MS + day * DAY_MS + step * STEP_MS + dice.randrange(STEP_MS)
            if step == minutes * 30_000 // STEP_MS:
                # trades go on while slot 0 is away
                for one in by_slot[0]:
                    one.volume += 500
                _open(slots[0], by_slot[0], now_ms - 5)
            for slot, there in by_slot.items():
                moved = dice.sample(there, dice.randint(1, len(there)))
                frame = wire.encode_frame(_packet(one, now_ms, dice) for one in moved)
                made_now, _, rejected = slots[slot].transcode(frame, now_ms * 1000)
                assert not rejected
                if dice.random() < 0.02:
                    continue  # lost: a gap in the sequence
                new = [Record(*record, now_ms) for record in made_now]
                made += new
                recent = [*recent, *new][-20:]
            if dice.random() < 0.02:
                made += recent  # delivered again, as after a crash of the producer
    return made


def _open(coder: Transcoder, there: list[Instrument], session_id: int) -> None:
    coder.open_session(session_id)
    coder.expect([one.token for one in there])


def _packet(one: Instrument, now_ms: int, dice: random.Random) -> bytes:
    one.price += dice.randint(-9, 9) * 5
    traded = dice.choice((0, 0, 1, 25, 400))
    one.volume += traded
    late_s = dice.randrange(MAX_DELAY_SECONDS)
    exchange_time = now_ms // 1000 - late_s
    if one.token & 0xFF == Exchange.INDICES.value:
        return wire.index_packet(one.token, one.price, exchange_time=exchange_time)
    if one.mode == "ltp":
        return wire.ltp_packet(one.token, one.price)
    quote = wire.quote_packet(
        one.token, one.price, last_quantity=traded, volume=one.volume, ohlc=(one.price,) * 4
    )
    if one.mode == "quote":
        return quote
    bids = [(10 + level, one.price - 5 * (level + 1), 1) for level in range(5)]
    offers = [(20 + level, one.price + 5 * (level + 1), 2) for level in range(5)]
    return wire.full_packet(
        quote,
        last_trade_time=exchange_time,
        oi=one.volume // 2,
        exchange_time=exchange_time,
        depth=[*bids, *offers],
    )


def newer_schema() -> dict:
    """The next version that the evolution rules allow: a nullable field at the end."""
    schema = schemas.load("tick")
    return {**schema, "fields": [*schema["fields"], NEW_FIELD]}


def older_schema() -> dict:
    """The version before the flat top of book was appended."""
    schema: dict = json.loads((GOLDEN / "tick.v1.avsc").read_text("utf-8"))
    return schema


def in_newer_schema(record: Record, schema_id: int) -> Record:
    """The same tick in the next version, with something in the new field."""
    return _written_again(record, newer_schema(), schema_id, market_phase="open")


def in_older_schema(record: Record, schema_id: int) -> Record:
    """The same tick as the version before wrote it."""
    return _written_again(record, older_schema(), schema_id)


def framed_event(schema_id: int) -> bytes:
    """The value of an event: a record of ours that is no tick."""
    body = io.BytesIO()
    event = {"slot": 0, "type": "connected", "time": START_MS}
    fastavro.schemaless_writer(body, schemas.load("connection_event"), event)
    return b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue()


def tape(names: TopicNames, schema_ids: dict[str, int], older_ids: dict[str, int]) -> list[Record]:
    """What every reader is compared by: both days, of the first one about half in version 1.

    All modes, an index, nulls, gaps, repeats, snapshots, a reconnect, topics that stay empty. A
    repeated tick is in the same version again.
    """
    return [
        in_older_schema(record, older_ids[record.topic])
        if record.timestamp_ms < START_MS + DAY_MS // 2 and sum((record.value or b"")[5:]) % 2
        else record
        for record in records(names, schema_ids)
    ]


def _written_again(record: Record, schema: dict, schema_id: int, **more: str) -> Record:
    assert record.value is not None
    tick = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schemas.load("tick"), None)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, {**tick, **more})
    return replace(record, value=b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue())
