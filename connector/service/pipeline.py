"""What the service does with everything that its connections receive: into Kafka, and counted.

The tick path is `SlotPipeline.frame`, called from the socket's own callback: transcode the frame,
produce each record, nothing else for a tick. There is no queue here: librdkafka's is the buffer,
and the producer spools what that has no room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import structlog

from connector.cluster.event_log import EventLog, own_event
from connector.codec import Transcoder
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.histogram import MILLISECONDS, SECONDS, Histogram
from connector.kafka.instruments import WHOLE
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.spool import Record
from connector.kafka.topics import TopicNames
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.config import MAX_SYMBOLS_PER_CONNECTION
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType, TickCount
from connector.kite.feed.log import worth_a_line
from connector.kite.wire.event_time import plausible
from connector.kite.wire.models import (
    ErrorMessage,
    Exchange,
    Mode,
    OrderMessage,
    TextMessage,
    TickerMessage,
)
from connector.redaction import cut, one_line
from connector.service.latest import Latest
from connector.service.lost import Lost
from connector.service.order_deduplicator import OrderDeduplicator, Update

_log = structlog.get_logger("connector.service.pipeline")

SAMPLE_EVERY_US = 10_000
"""Latencies are taken of one frame in so many microseconds: of each one, they would cost more than
its transcoding."""
MINUTE_US = 60_000_000
MAX_DEAD_LETTER_BYTES = 64 * 2**10
"""A dead letter of the feed keeps so many bytes from the beginning."""
ORDER_WITHOUT_ID = "order_without_id"
"""An order update that does not name its order."""
ORDER_UNENCODABLE = "order_unencodable"
"""An order update that its record cannot hold."""
MAX_LOST_NAMED = 2 * MAX_SYMBOLS_PER_CONNECTION
"""So many instruments a `dropped` names at most: twice a connection's, as a gap."""
RECENT_EVENTS = 200
"""So many of this process's newest events are kept for whoever looks."""
# where a packet that begins a frame has the exchange's time, by its length
# two bytes with the number of packets, two with the length, then at 60 of a full packet, at 28 of
# an index's
_TIMESTAMP_AT = {184: 64, 32: 32}


Tap = Callable[[bytes, int], None]
"""Looks at the frames of a slot."""


class Pipeline:
    """All slots of this process: gives each its handler, and holds what they have in common.

    Args:
        producer: takes the records.
        topics: where they go.
        encoder: frames orders and events.
        transcoder: makes the codec of a slot.
        account_of: names a slot's account, for events and logs.
        connected: slots whose socket is open here, where others have some; None: it is alone.
        announced: told the etag of the list of instruments that the feed announces.
        opened: told the slot and the id of each session that begins.
        latest: writes the newest tick of each instrument; None: nobody wants it.
        clock: for times of records, and for how long an order update is held.
    """

    def __init__(
        self,
        producer: IsolatingProducer,
        topics: TopicNames,
        encoder: RecordEncoder,
        transcoder: Callable[[int], Transcoder],
        account_of: Callable[[int], str],
        *,
        connected: Callable[[], Collection[int]] | None = None,
        announced: Callable[[str], None] | None = None,
        opened: Callable[[int, int], None] | None = None,
        latest: Latest | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.producer = producer
        self.latest = latest
        self.topics = topics
        self.encoder = encoder
        self.time_us = clock.time_us
        self.orders = 0
        self.orders_reconciled = 0
        """How many of these no socket had brought."""
        self.order_desk = OrderDeduplicator(self.write_order, connected=connected, clock=clock)
        self.texts = 0
        """Text frames that cannot be read, each a dead letter."""
        self.events = 0
        self.recent_events = EventLog(RECENT_EVENTS)
        """The newest events, as the page shows them."""
        self.instruments = 0
        """Records of the instrument master, tombstones too."""
        self.candles = 0
        """How many candles of gaps were written."""
        self.rejected: Counter[str] = Counter()
        # of all slots, one frame in `SAMPLE_EVERY_US` of each
        self.exchange_to_receive = Histogram(SECONDS)
        self.receive_to_produce = Histogram(MILLISECONDS)
        self.tick_topics = topics.all_ticks()
        self._announced = announced
        self.session_opened = opened
        self._transcoder = transcoder
        self._account_of = account_of
        # never taken out: a slot that comes back goes on with its counts, which are metrics
        self._slots: dict[int, SlotPipeline] = {}
        # the minute of the last counts, since 1970
        self._minute = 0
        # kept for transcoders that are made later
        self._symbols: Mapping[int, str] = {}

    def handler(self, slot: int) -> SlotPipeline:
        """Return the handler of a slot's connection; the same one each time: counts go on."""
        known = self._slots.get(slot)
        if known is None:
            transcoder = self._transcoder(slot)
            transcoder.set_symbols(self._symbols)
            if self.latest is not None:
                self.latest.add(slot, transcoder)
            known = SlotPipeline(self, slot, self._account_of(slot), transcoder)
            self._slots[slot] = known
        return known

    def set_symbols(self, symbols: Mapping[int, str]) -> None:
        """Give ticks their tradingsymbols: those of today's instrument master."""
        self._symbols = symbols
        for slot in self._slots.values():
            slot.transcoder.set_symbols(symbols)

    def symbol(self, token: int) -> str | None:
        """Return a token's tradingsymbol of today; None where the list has none."""
        return self._symbols.get(token)

    def count_ticks(self) -> None:
        """Write a count of each open session when a minute has begun; to be called each second."""
        minute = self.time_us() // MINUTE_US
        if minute != self._minute:
            self._minute = minute
            for slot in self._slots.values():
                slot.count()

    def write_order(self, update: Update) -> None:
        """Write an order update; one that cannot be encoded is a dead letter."""
        try:
            value = self.encoder.order(
                update.order,
                slot=update.slot,
                session_id=update.session_id,
                receive_time_us=update.receive_time_us,
                source=update.source,
            )
        except Exception as error:  # noqa: BLE001 -- whatever it holds: the next one is written
            _log.error("order_unencodable", slot=update.slot, error=type(error).__name__)
            self.reject_text(ORDER_UNENCODABLE, update.raw, update.slot, update.session_id)
            return
        # not before: what is counted here has to become a record, or the accounting is off for good
        self.orders += 1
        self.orders_reconciled += update.source == "reconciled"
        self.producer.produce(
            self.topics.orders,
            value,
            update.order.order_id.encode(),
            update.receive_time_us // 1000,
        )

    def reject_text(
        self, reason: str, text: str, slot: int, session_id: int, size_bytes: int = 0
    ) -> None:
        """Keep a text frame that cannot be read as a dead letter.

        Args:
            reason: a fixed word.
            text: the frame, or its beginning where it is too long.
            slot: where it came.
            session_id: the same.
            size_bytes: of the frame, where `text` is only its beginning.
        """
        self.texts += 1
        self.rejected[reason] += 1
        if worth_a_line(count := self.rejected[reason]):
            _log.debug("text_frame_rejected", slot=slot, reason=reason, count=count)
        # the topic that a text would have gone to, as far as its beginning tells
        topic = self.topics.orders if reason.startswith("order_") else f"{self.topics.prefix}.ticks"
        now_us = self.time_us()
        self.dead_letter(topic, reason, text.encode(errors="replace"), now_us, slot, session_id,
                         size_bytes)  # fmt: skip

    def dead_letter(
        self, topic: str, reason: str, data: bytes, receive_time_us: int, slot: int,
        session_id: int, size_bytes: int = 0,
    ) -> None:  # fmt: skip
        """Keep bytes that could not become a record of `topic`, at most their beginning."""
        size_bytes = max(size_bytes, len(data))
        kept = data[:MAX_DEAD_LETTER_BYTES]
        headers: list[tuple[str, bytes | None]] = [
            ("reason", reason.encode()),
            ("slot", b"%d" % slot),
            ("receive_time_us", b"%d" % receive_time_us),
            ("session_id", b"%d" % session_id),
        ]
        if size_bytes > len(kept):
            headers.append(("length", b"%d" % size_bytes))
        self.producer.produce(
            self.topics.deadletter, kept, topic.encode(), receive_time_us // 1000, headers
        )

    def write_event(self, event: ConnectionEvent, account: str) -> None:
        """Write an event: an edge in the life of a connection."""
        if event.type is not EventType.COUNT:  # one a minute would push all others out
            self.recent_events.add(own_event(event, account))
        value = self.encoder.event(event, account=account)
        # not before, as of an order
        self.events += 1
        self.producer.produce(self.topics.events, value, b"%d" % event.slot, event.time_ms)
        # a connection logs its edges itself; what was missed is for whoever looks after the data
        if event.type is EventType.GAP and event.gap_from_ms is not None:
            gap_ms = (event.gap_to_ms or 0) - event.gap_from_ms
            _log.warning(
                "gap_in_feed",
                slot=event.slot,
                account=account,
                seconds=gap_ms / 1000,
                instruments=event.instruments,
            )

    def write_instruments(self, changes: Iterable[tuple[bytes, bytes | None]], whole: bool) -> None:
        """Write records of the instrument master: key and value, None where one is gone.

        Args:
            changes: the records.
            whole: the topic holds a whole list.
        """
        timestamp_ms = self.time_us() // 1000
        headers = [WHOLE] if whole else None
        for key, value in changes:
            self.instruments += 1
            self.producer.produce(self.topics.instruments, value, key, timestamp_ms, headers)

    def write_candles(self, key: bytes, values: Iterable[bytes]) -> None:
        """Write candles of one instrument."""
        timestamp_ms = self.time_us() // 1000
        for value in values:
            self.candles += 1
            self.producer.produce(self.topics.backfill, value, key, timestamp_ms)

    def note_announced_list(self, data: object) -> None:
        """Note which list of instruments the feed calls the present one; undocumented."""
        etag = data.get("etag") if isinstance(data, Mapping) else None
        if self._announced is not None and isinstance(etag, str):
            self._announced(etag)

    def write_dropped(self, reason: str, lost: Lost) -> None:
        """Write events that records were lost, of each slot that may have lost some."""
        for event in self._dropped(reason, lost):
            self.write_event(event, self._account_of(event.slot))

    def dropped_records(self, reason: str, lost: Lost) -> list[Record]:
        """Return the same events as records, for a producer that is closed."""
        return [
            Record(
                self.topics.events,
                key=b"%d" % event.slot,
                value=self.encoder.event(event, account=self._account_of(event.slot)),
                timestamp_ms=event.time_ms,
            )
            for event in self._dropped(reason, lost)
        ]

    def _dropped(self, reason: str, lost: Lost) -> Iterator[ConnectionEvent]:
        slots = set(lost.tokens)
        if not (slots and lost.all_known):
            # nobody knows whose all of it was: each slot may have lost some
            slots.update(self._slots)
        for slot in sorted(slots):
            known, tokens = self._slots.get(slot), set(lost.tokens.get(slot, ()))
            if known is not None and not lost.all_known:
                tokens |= known.tokens
            yield ConnectionEvent(
                EventType.DROPPED,
                slot,
                self.time_us() // 1000,
                None if known is None else known.session_id or None,
                reason=f"{reason}: {lost.count} records over all slots",
                gap_from_ms=lost.from_ms or None,
                gap_to_ms=lost.to_ms or None,
                instruments=len(tokens) if tokens or lost.all_known else None,
                tokens=tuple(sorted(tokens)) if len(tokens) <= MAX_LOST_NAMED else (),
            )

    @property
    def latest_written(self) -> int:
        """How many records of the newest ticks there were so far."""
        return 0 if self.latest is None else self.latest.written

    @property
    def received(self) -> int:
        """How many records were handed to the producer, each for something received."""
        packets = sum(slot.transcoder.packets for slot in self._slots.values())
        others = self.orders + self.texts + self.events + self.instruments + self.candles
        return packets + others + self.latest_written

    @property
    def ticks(self) -> dict[Exchange, int]:
        """How many ticks of each exchange there were so far."""
        total = dict.fromkeys(Exchange, 0)
        for slot in self._slots.values():
            for exchange, count in slot.transcoder.counts().items():
                total[exchange] += count
        return total

    @property
    def implausible_times(self) -> int:
        """How many ticks have the receive time as event_time: the exchange's is too far from it."""
        return sum(slot.transcoder.implausible_times for slot in self._slots.values())

    @property
    def unkept(self) -> int:
        """How many packets are neither ticks nor dead letters: a frame had too many of them."""
        return sum(slot.transcoder.unkept for slot in self._slots.values())

    @property
    def slots(self) -> list[int]:
        """The slots that had a handler."""
        return list(self._slots)

    def tap(self, slot: int, tap: Tap | None) -> None:
        """Show every frame of a slot to `tap`, before anything else is done with it; None ends it.

        Args:
            slot: one that had a handler; of others there is nothing to see.
            tap: given the frame and its receive time, UTC microseconds; must not raise.
        """
        if (known := self._slots.get(slot)) is not None:
            known.tap = tap

    def packets(self, slot: int) -> int:
        """Return how many packets of one slot there were so far."""
        known = self._slots.get(slot)
        return known.transcoder.packets if known else 0


class SlotPipeline:
    """The handler of one connection; implements `connector.kite.feed.handler.Handler`."""

    def __init__(self, pipeline: Pipeline, slot: int, account: str, transcoder: Transcoder) -> None:
        self.slot = slot
        self.account = account
        self.session_id = 0
        self.transcoder = transcoder
        self.tap: Tap | None = None
        self.tokens: set[int] = set()
        """The instruments that were asked for on the present socket, or on the last one."""
        self._pipeline = pipeline
        # looked up once: these are called for each frame
        self._transcode = transcoder.transcode
        self._produce_all = pipeline.producer.produce_all
        self._time_us = pipeline.time_us
        self._sampled_us = 0
        # what the feed said last, and how often in a row
        self._said = ""
        self._said_count = 0
        # whether the session has ticks to come: its last count is not written yet
        self._open = False
        self._exchange_to_receive = pipeline.exchange_to_receive.observe
        self._receive_to_produce = pipeline.receive_to_produce.observe

    def opened(self, session_id: int) -> None:
        """Begin a session: sequences begin anew with a socket."""
        # the last count of the session before, while the transcoder still counts for that
        self.count(ended=True)
        self._open = True
        self.session_id = session_id
        self.tokens.clear()
        self.transcoder.open_session(session_id)
        if self._pipeline.session_opened is not None:
            self._pipeline.session_opened(self.slot, session_id)

    def expect(self, tokens: Iterable[int]) -> None:
        """Treat the next packet of each token as a snapshot."""
        tokens = list(tokens)
        self.tokens.update(tokens)
        self.transcoder.expect(tokens)

    def forget(self, tokens: Iterable[int]) -> None:
        """Forget tokens that are no longer wanted."""
        tokens = list(tokens)
        self.tokens.difference_update(tokens)
        self.transcoder.forget(tokens)

    def watch(self, tokens: Iterable[int]) -> None:
        """The next packet of each is to be told of."""
        self.transcoder.watch(tokens)

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Transcode and produce a frame: the tick path."""
        if self.tap is not None:
            self.tap(data, receive_time_us)
        records, confirmed, rejected = self._transcode(data, receive_time_us)
        if records:
            self._produce_all(records, receive_time_us // 1000)
        if rejected:
            self._dead_letter(rejected, receive_time_us)
        # also when the clock is set back: else nothing would be sampled until it has caught up
        if not 0 <= receive_time_us - self._sampled_us < SAMPLE_EVERY_US:
            self._sample(data, receive_time_us, snapshot=bool(confirmed))
        return confirmed

    def message(self, message: TickerMessage, raw: str) -> None:
        """Handle a text frame: orders go on, complaints and alerts of the feed to the log."""
        if isinstance(message, OrderMessage):
            if not message.order.order_id:
                self._pipeline.reject_text(ORDER_WITHOUT_ID, raw, self.slot, self.session_id)
                return
            self._pipeline.order_desk.accept(
                Update(message.order, raw, self.slot, self.session_id, self._time_us())
            )
        elif isinstance(message, ErrorMessage):
            if count := self._news(message.text):
                text = cut(one_line(message.text))
                _log.warning("feed_error", slot=self.slot, text=text, count=count)
        elif isinstance(message, TextMessage):
            if message.fault:
                self._pipeline.reject_text(
                    message.fault, raw, self.slot, self.session_id, message.size_bytes
                )
                return
            if message.type == "instruments_meta":
                self._pipeline.note_announced_list(message.data)
            # broker alerts are meant for people; the undocumented ones come at each connect
            log = _log.info if message.type == "message" else _log.debug
            if count := self._news(f"{message.type} {message.data!r}"):
                kind = cut(one_line(message.type), 60)
                log("feed_message", slot=self.slot, type=kind, count=count)

    def event(self, event: ConnectionEvent) -> None:
        """Write an edge of the connection's life; behind the end of a socket comes no frame."""
        if event.state not in (None, ConnectionState.CONNECTED):
            self.count(ended=True)
        self._pipeline.write_event(event, self.account)

    def count(self, *, ended: bool = False) -> None:
        """Write how many ticks went where since the last count, if there are none too."""
        if not self._open:
            return
        self._open = not ended
        if ended and self._pipeline.latest is not None:
            self._pipeline.latest.end(self.slot)
        first, last, partitions = self.transcoder.next_tally()
        count = TickCount(first, last, ended, partitions)
        event = ConnectionEvent(
            EventType.COUNT, self.slot, self._time_us() // 1000, self.session_id, count=count
        )
        self._pipeline.write_event(event, self.account)

    def _news(self, said: str) -> int:
        """How often this was said in a row, where the log should have it; 0 where it has it."""
        self._said_count = self._said_count + 1 if said == self._said else 1
        self._said = said
        return self._said_count if worth_a_line(self._said_count) else 0

    def _sample(self, data: bytes, receive_time_us: int, *, snapshot: bool) -> None:
        """Observe the latencies of one frame."""
        self._sampled_us = receive_time_us
        self._receive_to_produce((self._time_us() - receive_time_us) * 1e-6)
        at = _TIMESTAMP_AT.get(int.from_bytes(data[2:4]))
        # a snapshot of yesterday's last trade says nothing of the network
        if at is not None and not snapshot and len(data) >= at + 4:
            exchange_time = int.from_bytes(data[at : at + 4])
            if exchange_time and plausible(exchange_time * 1000, receive_time_us // 1000):
                # whole seconds of another machine's clock, which may be ahead of this one
                self._exchange_to_receive(max(0.0, receive_time_us * 1e-6 - exchange_time))

    def _dead_letter(self, rejected: Sequence[tuple[str, bytes]], receive_time_us: int) -> None:
        pipeline = self._pipeline
        for reason, data in rejected:
            pipeline.rejected[reason] += 1
            topic = self._meant_for(reason, data)
            pipeline.dead_letter(topic, reason, data, receive_time_us, self.slot, self.session_id)

    def _meant_for(self, reason: str, data: bytes) -> str:
        """Return the topic that bytes would have gone to; else the tick topics' prefix."""
        if reason == "unknown_length" and len(data) >= 4:
            try:
                # the low byte of the token, with which a packet begins, is Kite's segment
                return self._pipeline.tick_topics[Exchange(data[3])]
            except ValueError:
                pass
        return f"{self._pipeline.topics.prefix}.ticks"
