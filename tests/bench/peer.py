"""The pipeline that one builds from today's parts: pykiteconnect → fastavro → confluent-kafka.

The same work as the connector's: each tick as framed Avro of the same schema, in the topic of its
exchange, keyed by token, from an idempotent producer. Prints its figures as one line of JSON.
"""

from __future__ import annotations

import io
import json
import logging
import resource
import struct
import time
from typing import Any

import fastavro
from confluent_kafka import Producer
from kiteconnect import KiteTicker
from twisted.internet import reactor

from connector.kite.wire.models import Exchange
from connector.schemas import load
from tests.bench.feed import age_us, subject_arguments

PREFIX = struct.pack(">BI", 0, 1)


class Peer:
    """Three tickers in one process, one producer."""

    def __init__(
        self, url: str, bootstrap_servers: str, tokens: list[list[int]], ticks: int
    ) -> None:
        self.schema = fastavro.parse_schema(load("tick"))
        self.producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5,
             "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        self.expected = ticks
        self.received = 0
        self.delivered = 0
        self.ages_us: list[int] = []
        self.cpu_from: float | None = None
        self.tickers = [self.ticker(url, slot, mine) for slot, mine in enumerate(tokens)]

    def ticker(self, url: str, slot: int, tokens: list[int]) -> KiteTicker:
        ticker = KiteTicker("bench", f"token{slot}", root=url)
        session_id = time.time_ns() // 1_000_000
        sequence = 0

        def on_connect(ws: KiteTicker, _response: object) -> None:
            ws.subscribe(tokens)
            ws.set_mode(ws.MODE_FULL, tokens)

        def on_ticks(_ws: KiteTicker, ticks: list[dict[str, Any]]) -> None:
            nonlocal sequence
            if self.cpu_from is None:
                self.cpu_from = cpu_seconds()
            now_us = time.time_ns() // 1000
            for tick in ticks:
                sequence += 1
                self.produce(tick, slot, session_id, sequence, now_us)
            self.ages_us.append(age_us(ticks[0]["volume_traded"]))
            self.producer.poll(0)
            self.received += len(ticks)
            if self.received >= self.expected:
                reactor.callLater(0, reactor.stop)

        ticker.on_connect, ticker.on_ticks = on_connect, on_ticks
        return ticker

    def produce(
        self, tick: dict[str, Any], slot: int, session_id: int, sequence: int, now_us: int
    ) -> None:
        token = tick["instrument_token"]
        exchange = Exchange.of(token)
        at = tick["exchange_timestamp"]
        record = {
            "event_time": at, "receive_time_us": now_us, "instrument_token": token,
            "exchange": exchange.name, "tradingsymbol": None, "mode": tick["mode"],
            "tradable": tick["tradable"], "last_price": tick["last_price"],
            "last_traded_quantity": tick["last_traded_quantity"],
            "average_traded_price": tick["average_traded_price"],
            "volume_traded": tick["volume_traded"],
            "total_buy_quantity": tick["total_buy_quantity"],
            "total_sell_quantity": tick["total_sell_quantity"], "ohlc": tick["ohlc"],
            "last_trade_time": tick["last_trade_time"], "exchange_timestamp": at,
            "oi": tick["oi"], "oi_day_high": tick["oi_day_high"], "oi_day_low": tick["oi_day_low"],
            "depth": tick["depth"], "slot": slot, "session_id": session_id, "sequence": sequence,
            "snapshot": False,
        }  # fmt: skip
        value = io.BytesIO()
        value.write(PREFIX)
        fastavro.schemaless_writer(value, self.schema, record)
        self.producer.produce(
            f"kite.ticks.{exchange.name.lower()}", value.getvalue(), str(token).encode(),
            timestamp=now_us // 1000, on_delivery=self.acknowledged,
        )  # fmt: skip

    def acknowledged(self, error: object, _message: object) -> None:
        self.delivered += error is None

    def run(self) -> dict[str, Any]:
        first, *others = self.tickers
        for ticker in others:
            reactor.callWhenRunning(ticker.connect)
        first.connect()
        self.producer.flush(120)
        return {
            "received": self.received, "delivered": self.delivered,
            "cpu_seconds": cpu_seconds() - (self.cpu_from or 0), "ages_us": sorted(self.ages_us),
        }  # fmt: skip


def cpu_seconds() -> float:
    """Of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    chosen = subject_arguments(__doc__)
    logging.getLogger("kiteconnect").setLevel(logging.CRITICAL)  # that the feed ends is no error
    peer = Peer(
        chosen.url,
        chosen.bootstrap_servers,
        chosen.tokens,
        chosen.ticks,
    )
    print(json.dumps(peer.run()), flush=True)


if __name__ == "__main__":
    main()
