"""A service's status with something in every part of it."""

from connector.kafka.ack_latency import BOUNDS as ACK_BOUNDS
from connector.kafka.histogram import MILLISECONDS, SECONDS, Histogram
from connector.kite.feed.events import ConnectionState
from connector.service.status import (
    Accounting,
    BackfillStatus,
    ConnectionStatus,
    ExchangeStatus,
    InstrumentListStatus,
    Latencies,
    ProducerStatus,
    ServiceStatus,
    TopicsStatus,
)

CLUSTER = {
    "leader": True,
    "slots": {0: {"account": "main"}, 2: {"account": "main"}, 5: {"account": None}},
    "revision": 7,
    "rebalances": 3,
    "watchlists": {"algo-1": 3},
    "rules": [{"problem": None}],
    "waiting_for_room": {"main": 2, "": 1},
    "commands": {
        "serving": True,
        "applied": 9,
        "rejected": 2,
        "dead_letters": 1,
        "aborted": 4,
        "refused": 3,
        "fenced": 5,
    },
}
"""What the leader of a cluster adds."""


def service_status(**changes) -> ServiceStatus:
    exchange_to_receive, receive_to_produce = Histogram(SECONDS), Histogram(MILLISECONDS)
    exchange_to_receive.observe(0.3)
    receive_to_produce.observe(100.0)
    produce_to_ack = Histogram(ACK_BOUNDS)
    produce_to_ack.observe(0.004)
    values = {
        "name": "kite-connector",
        "version": "1.2.3",
        "codec": "native",
        "started_ms": 1_700_000_000_000,
        "uptime_seconds": 61.5,
        "phase": "running",
        "not_ready": (),
        "topics": TopicsStatus(faults=("a fault",), differences=("one", "another")),
        "backfill": BackfillStatus(
            gaps_waiting=2, gaps_ended=3, candles=70, rows_refused=1, lacking={"no_candles": 4}
        ),
        "connections": (
            ConnectionStatus(
                slot=0,
                account="main",
                state=ConnectionState.CONNECTED,
                session_id=1_700_000_000_001,
                desired=3000,
                confirmed=2999,
                frames=10,
                bytes=4096,
                heartbeats=60,
                packets=100,
                connects=1,
                ticks_per_second=12.5,
                last_frame_age_seconds=0.1,
                last_tick_age_seconds=0.2,
            ),
            ConnectionStatus(
                slot=1,
                account="main",
                state=ConnectionState.WAITING_FOR_TOKEN,
                last_error="HTTP 403",
            ),
        ),
        "exchanges": (
            ExchangeStatus("NSE", "kite.ticks.nse", 90, 10.0),
            ExchangeStatus("NFO", "kite.ticks.nfo", 8, 2.5),
        ),
        "accounting": Accounting(
            received=104,
            delivered=90,
            in_flight=5,
            spooled=4,
            dead_lettered=2,
            dropped={"spool_full": 3},
        ),
        "producer": ProducerStatus(
            "localhost:9092",
            broker_reachable=True,
            queued=5,
            spooled=4,
            spool_bytes=400,
            queue_peak=70,
            spool_peak_bytes=800,
            spool_limit_bytes=1600,
            files_refused="no broker takes the new certificate",
            refused=[("kite.ticks.nse", "topic_authorization_failed", 6)],
            troubles={"kite.ticks.nse": "topic_authorization_failed"},
            throttled_seconds=1.5,
        ),
        "latencies": Latencies(
            exchange_to_receive, receive_to_produce, produce_to_ack, Histogram(MILLISECONDS)
        ),
        "rejected": {"unknown_length": 2},
        "orders": 1,
        "order_repeats": 2,
        "events": 3,
        "instrument_list": InstrumentListStatus(
            instruments=117_000,
            origin="Kite",
            confirmed_ms=1_700_000_000_000,
            unreadable_rows=1,
            defaulted_cells=2,
            repeated_tokens=3,
            ambiguous_names=4,
            missing=5,
        ),
        "market_open": {"NSE": True, "MCX": False},
        "trading_days_listed_until": "2026-12-31",
        "unresolved": ("NSE:NONE: not in the instrument master",),
    }
    return ServiceStatus(**{**values, **changes})
