"""Has frames transcoded, and reads back with fastavro alone what the codec wrote."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime
from typing import Any

import fastavro

from connector.codec import Transcoder
from connector.kite.wire.models import Exchange
from connector.schemas import load
from tests.support.packets import frame

TOPICS = {exchange: f"kite.ticks.{exchange.name.lower()}" for exchange in Exchange}
SCHEMA_IDS = {topic: 70_000 + exchange.value for exchange, topic in TOPICS.items()}

NOW_US = 1_700_000_001_234_567
NOW = datetime.fromtimestamp(1_700_000_001, UTC).replace(microsecond=234_000)
"""NOW_US as Avro's milliseconds have it."""

_SCHEMA = fastavro.parse_schema(load("tick"))


def decode(value: bytes) -> tuple[int, dict[str, Any]]:
    """(schema id, tick) of a framed value; fails where bytes are left over."""
    magic, schema_id = struct.unpack_from(">bI", value)
    assert magic == 0
    body = io.BytesIO(value[5:])
    tick = fastavro.schemaless_reader(body, _SCHEMA, None)
    assert not body.read()
    return schema_id, tick


def ticks(transcoder: Transcoder, *packets: bytes) -> list[dict[str, Any]]:
    """The ticks of a frame of good packets."""
    records, _, rejected = transcoder.transcode(frame(*packets), NOW_US)
    assert not rejected
    return [decode(value)[1] for _, _, value in records]


def tick(transcoder: Transcoder, packet: bytes) -> dict[str, Any]:
    """The tick of a good packet."""
    (only,) = ticks(transcoder, packet)
    return only
