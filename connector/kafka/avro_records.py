"""Avro values with Confluent's framing: encoding all records but ticks, decoding any.

Ticks are encoded by `connector.codec`; all others are too few for that, and go through fastavro
here.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal

import fastavro
import structlog

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.codec.framing import FRAMING_BYTES, framing, schema_id_of
from connector.errors import RegistryError
from connector.kafka.registry import topic_schemas
from connector.kafka.schema_shape import NOT_AVRO, check_shape
from connector.kafka.topics import TopicNames
from connector.kite.feed.events import ConnectionEvent, TickCount
from connector.kite.web.instrument_csv import Instrument
from connector.kite.wire.candles import MINUTE_MS, Candle, Gap
from connector.kite.wire.event_time import plausible
from connector.kite.wire.models import Exchange, Order


class RecordEncoder:
    """Encodes order updates, connection events, instruments, and the candles of gaps.

    Args:
        topics: whose names the ids are under.
        schema_ids: topic → id, from `register_schemas`; of all that it is to encode.
    """

    def __init__(self, topics: TopicNames, schema_ids: Mapping[str, int]) -> None:
        self._topics = topics
        shipped = topic_schemas(topics)
        # topic → how its values are framed, and their schema
        self._forms = {
            topic: (framing(schema_ids[topic]), fastavro.parse_schema(schemas.load(shipped[topic])))
            for topic in (topics.orders, topics.events, topics.instruments, topics.backfill)
            if topic in schema_ids
        }

    def _encode(self, topic: str, row: Mapping[str, Any]) -> bytes:
        head, schema = self._forms[topic]
        buffer = io.BytesIO()
        buffer.write(head)
        # strict: a field that is missing from a row is a mistake here, not a null
        fastavro.schemaless_writer(buffer, schema, row, strict=True)
        return buffer.getvalue()

    def order(
        self,
        order: Order,
        *,
        slot: int,
        session_id: int,
        receive_time_us: int,
        source: str = "feed",
    ) -> bytes:
        """Return the framed OrderUpdate of an order that was read at `receive_time_us`.

        Args:
            order: as it was told.
            slot: the connection that brought it, or after whose opening it was asked for.
            session_id: that connection's.
            receive_time_us: UTC microseconds.
            source: who told of it: feed or reconciled.
        """
        receive_ms = receive_time_us // 1000
        times = [_millis(order.exchange_timestamp), _millis(order.order_timestamp)]
        row = {
            # the exchange's, null of an order that never reached it; else Kite's; else ours
            "event_time": next(
                (time for time in times if time is not None and plausible(time, receive_ms)),
                receive_ms,
            ),
            "receive_time_us": receive_time_us,
            "order_id": order.order_id,
            "status": order.status.value,
            "transaction_type": order.transaction_type.value,
            "validity": order.validity.value,
            "tradingsymbol": order.tradingsymbol,
            "exchange": order.exchange,
            "instrument_token": order.instrument_token,
            "exchange_order_id": order.exchange_order_id,
            "parent_order_id": order.parent_order_id,
            "user_id": order.user_id,
            "order_type": order.order_type,
            "product": order.product,
            "variety": order.variety,
            "status_message": order.status_message,
            "tag": order.tag,
            "quantity": order.quantity,
            "filled_quantity": order.filled_quantity,
            "pending_quantity": order.pending_quantity,
            "cancelled_quantity": order.cancelled_quantity,
            "price": order.price,
            "trigger_price": order.trigger_price,
            "average_price": order.average_price,
            "exchange_timestamp": times[0],
            "order_timestamp": times[1],
            # all of it: what Kite adds tomorrow is there before the schema knows it
            "payload": _json(order.payload),
            "slot": slot,
            "session_id": session_id,
            "algo_id": order.algo_id,
            "guid": order.guid,
            "market_protection": order.market_protection,
            "exchange_update_timestamp": _millis(order.exchange_update_timestamp),
            "placed_by": order.placed_by,
            "disclosed_quantity": order.disclosed_quantity,
            "status_message_raw": order.status_message_raw,
            "meta": None if order.meta is None else _json(order.meta),
            "source": source,
        }
        return self._encode(self._topics.orders, row)

    def event(self, event: ConnectionEvent, *, account: str | None = None) -> bytes:
        """The framed ConnectionEvent; `account` is the name of the api_key, never the key."""
        row = {
            "slot": event.slot,
            "account": account,
            "type": event.type.value,
            "time": event.time_ms,
            "session_id": event.session_id,
            "state": None if event.state is None else event.state.value,
            "reason": event.reason,
            "gap_from": event.gap_from_ms,
            "gap_to": event.gap_to_ms,
            "instruments": event.instruments,
            "tokens": list(event.tokens),
            "count": None if event.count is None else _count(event.count),
        }
        return self._encode(self._topics.events, row)

    def instrument(self, instrument: Instrument) -> bytes:
        """Return the framed Instrument; equal rows have equal bytes."""
        row = {
            **instrument._asdict(),
            "name": instrument.name or None,
            "expiry": None if instrument.expiry is None else instrument.expiry.isoformat(),
        }
        return self._encode(self._topics.instruments, row)

    def candle(
        self, candle: Candle, gap: Gap, token: int, symbol: str | None, receive_time_us: int
    ) -> bytes:
        """Return the framed Candle of an instrument, fetched at `receive_time_us` for a gap."""
        row = {
            "event_time": candle.minute * MINUTE_MS,
            "receive_time_us": receive_time_us,
            "instrument_token": token,
            "exchange": Exchange.of(token).name,
            "tradingsymbol": symbol,
            "open": candle.open,
            "high": candle.high,
            "low": candle.low,
            "close": candle.close,
            "volume": candle.volume,
            "oi": candle.oi,
            "slot": gap.slot,
            "session_id": gap.session_id,
            "gap_from": gap.from_ms,
            "gap_to": gap.to_ms,
            "cause": gap.cause,
            "source": "historical",
        }
        return self._encode(self._topics.backfill, row)


class InstrumentDecoder:
    """The other way: an Instrument of a value of the instruments' topic, by the shipped schema."""

    def __init__(self, topics: TopicNames) -> None:
        self._topic = topics.instruments
        self._decoder = RecordDecoder(topics)

    def decode(self, value: bytes) -> Instrument | None:
        """Return the row; None where the value is not one, whoever wrote it."""
        try:
            row = self._decoder.decode(self._topic, value).value
            expiry = row["expiry"]
            return Instrument(
                **{
                    **{field: row[field] for field in Instrument._fields},
                    "name": row["name"] or "",
                    "expiry": None if expiry is None else date.fromisoformat(expiry),
                    # the same few in each of 117 000 rows
                    "exchange": sys.intern(row["exchange"]),
                    "segment": sys.intern(row["segment"]),
                    "instrument_type": sys.intern(row["instrument_type"]),
                }
            )
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A value as Python has it: dict for Avro, whatever JSON holds, or the bytes themselves."""

    value: Any
    schema_id: int | None = None
    source: Literal["registry", "shipped", "json", "raw"] = "raw"
    """Whose schema; shipped is this version's own, for a registry that does not answer: fields
    that a newer writer has appended are not seen then, those that an older one lacks are null."""


ASK_AGAIN_SECONDS: Final = 10.0
"""The registry is asked again so long after it has not answered, or not known an id."""
MAX_SCHEMAS: Final = 1000
"""So many schemas of a registry are kept parsed; one more, and all are parsed anew when needed."""
MAX_UNKNOWN_IDS: Final = 1000
"""So many ids are known to be none."""
MAX_REFUSED_IDS: Final = 1000
"""So many ids are known to be of what is no schema."""


class RecordDecoder:
    """Decodes the value of any of the connector's topics.

    Args:
        topics: tells which topics have Avro values.
        schema_by_id: asks the registry; raises RegistryError. Called once for each id, and it may
            block: use the decoder in a thread then. After an error it is not called for a while.
        monotonic: seconds that never go backwards.
    """

    def __init__(
        self,
        topics: TopicNames,
        schema_by_id: Callable[[int], str] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shipped = topic_schemas(topics)  # topic → name of the schema that came along
        self._schema_by_id = schema_by_id
        # by id, what the registry gave; by name, what came along: parsing costs more than reading
        self._parsed: dict[int | str, Any] = {}
        self._warned = False  # once is enough: it may last for days
        self._monotonic = monotonic
        # when it is asked again: at all, and for ids that it does not have
        self._ask_at = -math.inf
        self._ask_for_at: dict[int, float] = {}
        # until when what has an id is known to be no schema: a large one takes long to refuse
        self._no_schema_until: dict[int, float] = {}

    def decode(self, topic: str, value: bytes | None) -> Decoded:
        """The value of a record; None stays None.

        Raises:
            ValueError: an Avro topic has a value that is not framed, or does not fit its schema.
        """
        if value is None:
            return Decoded(None)
        if topic not in self._shipped:
            return _json_or_raw(value)
        if (schema_id := schema_id_of(value)) is None:
            raise ValueError(f"{topic}: a value without Confluent's framing")
        schema, source = self._schema(topic, schema_id)
        encoded = value[FRAMING_BYTES:]
        # the body of an older version ends earlier; what a newer one has appended is not read
        if source == "shipped":
            encoded += _appended_nulls(self._shipped[topic])
        try:
            body = fastavro.schemaless_reader(io.BytesIO(encoded), schema, None)
        except (EOFError, ValueError, OverflowError, LookupError, TypeError) as exc:
            raise ValueError(f"{topic}: a value that schema {schema_id} does not describe") from exc
        return Decoded(body, schema_id, source)

    def _schema(self, topic: str, schema_id: int) -> tuple[Any, Literal["registry", "shipped"]]:
        if (parsed := self._parsed.get(schema_id)) is not None:
            return parsed, "registry"
        if self._monotonic() < self._no_schema_until.get(schema_id, -math.inf):
            raise ValueError(_no_schema(topic, schema_id))
        try:
            parsed = self._registered(schema_id)
        except NOT_AVRO as exc:
            if len(self._no_schema_until) >= MAX_REFUSED_IDS:
                self._no_schema_until = {}
            self._no_schema_until[schema_id] = self._monotonic() + ASK_AGAIN_SECONDS
            raise ValueError(_no_schema(topic, schema_id)) from exc
        if parsed is not None:
            if len(self._parsed) >= MAX_SCHEMAS:
                self._parsed = {}
            self._parsed[schema_id] = parsed
            return parsed, "registry"
        name = self._shipped[topic]
        if name not in self._parsed:
            self._parsed[name] = fastavro.parse_schema(schemas.load(name))
        return self._parsed[name], "shipped"

    def _registered(self, schema_id: int) -> Any:
        """Ask the registry; None where it is not asked now, or does not answer with a schema."""
        ask_at = max(self._ask_at, self._ask_for_at.get(schema_id, -math.inf))
        if self._schema_by_id is None or self._monotonic() < ask_at:
            return None
        try:
            text = self._schema_by_id(schema_id)
        except RegistryError as exc:  # decoding goes on, by the schema that came along
            # each record would wait for a registry that is away
            again = self._monotonic() + max(ASK_AGAIN_SECONDS, exc.retry_after_seconds)
            if exc.retryable:
                self._ask_at = again
            elif len(self._ask_for_at) < MAX_UNKNOWN_IDS:
                self._ask_for_at[schema_id] = again
            else:
                self._ask_for_at = {schema_id: again}  # bounded: ids are others' words
            if not self._warned:
                self._warned = True
                structlog.get_logger("connector.kafka").warning(
                    "shipped_schemas_used", reason=str(exc)
                )
            return None
        parsed = fastavro.parse_schema(json.loads(text))
        check_shape(parsed)
        return parsed


def _no_schema(topic: str, schema_id: int) -> str:
    return f"{topic}: what has the id {schema_id} is no Avro schema that can be read by"


@functools.cache
def _appended_nulls(schema: str) -> bytes:
    """What an older version's body lacks: a null, one zero byte, for each appended field."""
    fields = schemas.load(schema)["fields"]
    appended = itertools.takewhile(lambda field: "null" in field["type"], reversed(fields))
    return b"\x00" * len(list(appended))


def _count(count: TickCount) -> dict[str, Any]:
    return {
        "first_sequence": count.first_sequence,
        "last_sequence": count.last_sequence,
        "session_ended": count.session_ended,
        "partitions": [
            {"exchange": exchange.name, "partition": partition, "ticks": ticks}
            for (exchange, partition), ticks in count.partitions.items()
        ],
    }


def _json(payload: Mapping[str, Any]) -> str:
    text = json.dumps(dict(payload), ensure_ascii=False, separators=(",", ":"))
    # JSON can name half a character, which Avro's text cannot hold
    return text.encode(errors="replace").decode()


def _millis(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)


def _json_or_raw(value: bytes) -> Decoded:
    try:
        return Decoded(json.loads(value), source="json")
    except (ValueError, RecursionError):
        return Decoded(value)
