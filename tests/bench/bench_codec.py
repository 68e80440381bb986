"""Frame → framed Avro, one core, no I/O; next to the official client with and without fastavro.

All are timed in turns, over the same frames: 3000 instruments in changing order, prices and
quantities of differing lengths. A figure is the best round's mean, the calling loop included.

Parsers of other languages are programs of their own, between our rounds: the Rust crate's where
cargo is, and with BENCH_PEER=PROGRAM any other one. That is called with `parse ROUNDS PACKETS` and
given the frames on standard input, each behind its length in four bytes; it prints the best
round's nanoseconds a packet.
"""

from __future__ import annotations

import importlib
import io
import os
import random
import subprocess
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import fastavro

from connector.kite.wire.arrays import frame_array
from connector.kite.wire.packets import Tick, parse_frame
from connector.schemas import load
from tests.bench import rust_peer
from tests.support.packets import Level, frame, full, quote
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS

ROUNDS = 15
ROUND_SECONDS = 0.02
INSTRUMENTS = [number << 8 | 1 for number in range(400, 3400)]

RUST, OTHER = "… Rust crate's parse", "… BENCH_PEER's parse"
REACH = {(RUST, "frame_array, full, three columns"): 1.0, (OTHER, "parse_frame, full"): 1.5}

TICK_FIELDS = Tick.__match_args__

Frames = list[bytes]


class Contest(NamedTuple):
    """Somebody who takes frames of one kind, all of them at each call."""

    name: str
    take_all: Callable[[Frames], None]
    frames: Frames
    packets_a_frame: int
    note: str = ""
    reach: float | None = None


def run() -> list[dict[str, Any]]:
    contests = assemble()
    best = [float("inf")] * len(contests)
    hundreds = frames_of(full_packet, 100)[:5]
    foreign = dict.fromkeys(foreign_parsers(), float("inf"))
    for number in range(ROUNDS):
        for place, contest in enumerate(contests):
            best[place] = min(best[place], seconds_a_packet(contest))
        if number % 5 == 4:
            for name, program in foreign_parsers().items():
                foreign[name] = min(foreign[name], parsed_elsewhere(program, hundreds, 100))
    figures = [
        {
            "name": contest.name,
            "value": seconds * 1e6,
            "unit": "µs a packet",
            "note": f"{contest.packets_a_frame} a frame{contest.note}",
        }
        | ({} if contest.reach is None else {"reach": contest.reach})
        for contest, seconds in zip(contests, best, strict=True)
    ]
    ours = {
        contest.name: seconds
        for contest, seconds in zip(contests, best, strict=True)
        if contest.packets_a_frame == 100
    }
    for name, seconds in foreign.items():
        figures.append({"name": name, "value": seconds * 1e6, "unit": "µs a packet",
                        "note": "100 a frame: its structs, all fields"})  # fmt: skip
        figures += [
            {"name": f"{what} to {name.removeprefix('… ')}", "value": value / seconds, "unit": "×",
             "note": "100 a frame"}
            | ({"reach": REACH[name, what]} if (name, what) in REACH else {})
            for what, value in ours.items()
        ]  # fmt: skip
    return figures


def foreign_parsers() -> dict[str, str]:
    """Programs that parse frames, by name."""
    manager, peer = rust_peer.found(), os.environ.get("BENCH_PEER")
    return ({RUST: str(manager)} if manager else {}) | ({OTHER: peer} if peer else {})


def parsed_elsewhere(program: str, frames: Frames, packets: int) -> float:
    """Seconds a packet of a program's best round."""
    given = b"".join(len(data).to_bytes(4) + data for data in frames)
    told = subprocess.run(
        [program, "parse", "300", str(packets)], input=given, stdout=subprocess.PIPE, check=True
    )
    return float(told.stdout) / 1e9


def seconds_a_packet(contest: Contest) -> float:
    calls = 0
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < ROUND_SECONDS:
        contest.take_all(contest.frames)
        calls += 1
    return passed / (calls * len(contest.frames) * contest.packets_a_frame)


def assemble() -> list[Contest]:
    singles, twenties = frames_of(full_packet, 1), frames_of(full_packet, 20)
    quotes, hundreds = frames_of(quote_packet, 20), frames_of(full_packet, 100)
    contests = []
    if native := transcoding("_native"):
        contests += [
            Contest("native codec, full", native, singles, 1, reach=0.15),
            Contest("native codec, full", native, twenties, 20, reach=0.15),
            Contest("native codec, quote", native, quotes, 20),
        ]
    if pure := transcoding("_pure"):
        contests += [
            Contest("pure codec, full", pure, singles[:100], 1),
            Contest("pure codec, full", pure, twenties[:5], 20),
            Contest("pure codec, quote", pure, quotes[:5], 20),
        ]
    parse, read = each(parse_frame), each(parse_and_read)
    contests += [
        Contest("parse_frame, full", parse, singles[:100], 1, ": Tick objects, for the library"),
        Contest("parse_frame, full", parse, twenties[:5], 20),
        Contest("parse_frame, full", parse, hundreds[:5], 100),
        Contest("parse_frame, quote", parse, quotes[:5], 20),
        Contest("parse_frame, full, all fields read", read, hundreds[:5], 100),
        Contest("frame_array, full, three columns", each(three_columns), hundreds[:5], 100),
    ]
    if official := official_parser():
        contests += [
            Contest("kiteconnect, full", each(official), twenties[:5], 20, ": dicts, no Avro"),
            Contest("kiteconnect, quote", each(official), quotes[:5], 20, ": dicts, no Avro"),
            Contest("kiteconnect + fastavro, full", each(encoding(official)), twenties[:5], 20),
        ]
    return contests


def parse_and_read(data: bytes) -> None:
    """Ticks, and every field of each: what a tick that is made in one go costs."""
    for tick in parse_frame(data):
        for name in TICK_FIELDS:
            getattr(tick, name)


def three_columns(data: bytes) -> None:
    rows = frame_array(data)
    rows["instrument_token"].astype("i8")
    rows["last_price"] / 100
    rows["volume_traded"].astype("i8")


def each(take: Callable[[bytes], object]) -> Callable[[Frames], None]:
    def take_all(frames: Frames) -> None:
        for data in frames:
            take(data)

    return take_all


def transcoding(twin: str) -> Callable[[Frames], None] | None:
    """A twin of the codec in steady state; None where it is not built."""
    try:
        module = importlib.import_module(f"connector.codec.{twin}")
    except ImportError:
        return None
    transcoder = module.Transcoder(TOPICS, SCHEMA_IDS, 1)
    transcoder.open_session(1_700_000_000_123)
    transcoder.set_symbols({token: f"SYMBOL{token}" for token in INSTRUMENTS})
    transcoder.expect(INSTRUMENTS)
    transcode = transcoder.transcode

    def take_all(frames: Frames) -> None:
        for data in frames:
            transcode(data, NOW_US)

    return take_all


def official_parser() -> Callable[[bytes], list[dict[str, Any]]] | None:
    """`KiteTicker._parse_binary` of PyPI's kiteconnect; None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from kiteconnect import KiteTicker
    except ImportError:
        return None
    parse: Callable[[bytes], list[dict[str, Any]]] = KiteTicker("key", "token")._parse_binary
    return parse


def encoding(parse: Callable[[bytes], list[dict[str, Any]]]) -> Callable[[bytes], list[bytes]]:
    """What one does without this codec: the parsed dicts, completed, through fastavro."""
    schema = fastavro.parse_schema(load("tick"))
    framing = b"\0" + (70_001).to_bytes(4)

    def encode(data: bytes) -> list[bytes]:
        values = []
        for sequence, tick in enumerate(parse(data), 1):
            tick["event_time"] = tick["exchange_timestamp"]
            tick["receive_time_us"] = NOW_US
            tick["exchange"] = "NSE"
            tick["slot"] = 1
            tick["session_id"] = 1_700_000_000_123
            tick["sequence"] = sequence
            tick["snapshot"] = False
            value = io.BytesIO()
            value.write(framing)
            fastavro.schemaless_writer(value, schema, tick)
            values.append(value.getvalue())
        return values

    return encode


def frames_of(packet: Callable[[int, random.Random], bytes], packets_a_frame: int) -> Frames:
    """Every instrument once."""
    chance = random.Random(1)
    tokens = INSTRUMENTS.copy()
    chance.shuffle(tokens)
    return [
        frame(*(packet(token, chance) for token in tokens[start : start + packets_a_frame]))
        for start in range(0, len(tokens), packets_a_frame)
    ]


def fields(chance: random.Random) -> dict[str, int]:
    price = chance.randrange(10_000, 500_000)
    return {
        "last_price": price,
        "average_traded_price": price,
        "last_traded_quantity": chance.randrange(1, 500),
        "volume_traded": chance.randrange(10_000_000),
        "total_buy_quantity": chance.randrange(1_000_000),
        "total_sell_quantity": chance.randrange(1_000_000),
    }


def quote_packet(token: int, chance: random.Random) -> bytes:
    return quote(token, **fields(chance))


def full_packet(token: int, chance: random.Random) -> bytes:
    depth = [
        Level(chance.randrange(1, 5000), chance.randrange(10_000, 500_000), chance.randrange(1, 60))
        for _ in range(10)
    ]
    return full(token, depth=depth, **fields(chance))
