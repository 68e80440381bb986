"""Kite's own Python client, and ours of the same name, see what the simulator sent.

What it should see is worked out here from the bytes that were sent, by the documented layout: none
of the connector's decoders takes part.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from connector.kite.wire.models import Exchange
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.simulator.wire import DEPTH, FIELDS, INDEX, split_frame
from tests.support.processes import ended

CONFIG = SimulatorConfig(stepped=True, instruments=100, sent_log_frames=1000)
MODES = ("ltp", "quote", "full")
DIVISORS = {Exchange.CDS: 10_000_000.0, Exchange.BCD: 10_000.0, Exchange.NCO: 10_000.0}


def one_of_each_exchange_for_each_mode(universe):
    """Token to mode: the exchanges' n-th instruments in the n-th mode."""
    seen, wanted = {}, {mode: [] for mode in MODES}
    for listing in universe.listings:
        number = seen[listing.feed_exchange] = seen.get(listing.feed_exchange, -1) + 1
        if number < len(MODES):
            wanted[MODES[number]].append(listing.instrument_token)
    return wanted


def expected(packet):
    """The client's tick of a packet."""
    token = int.from_bytes(packet[:4], "big")
    exchange = Exchange(token & 0xFF)
    divisor = DIVISORS.get(exchange, 100.0)
    tick = {"instrument_token": token, "tradable": exchange is not Exchange.INDICES}
    if len(packet) == 8:
        return tick | {"mode": "ltp", "last_price": int.from_bytes(packet[4:], "big") / divisor}
    whole = packet + bytes(184 - len(packet))
    if exchange is Exchange.INDICES:
        _, last, high, low, open_, close, _, time = INDEX.unpack(whole[:32])
        tick["mode"] = "full" if len(packet) == 32 else "quote"
        if len(packet) == 32:
            tick["exchange_timestamp"] = time
    else:
        _, last, quantity, average, volume, buy, sell, open_, high, low, close, trade, *more = (
            FIELDS.unpack(whole[:64])
        )
        tick |= {
            "mode": "full" if len(packet) == 184 else "quote",
            "last_traded_quantity": quantity,
            "average_traded_price": average / divisor,
            "volume_traded": volume,
            "total_buy_quantity": buy,
            "total_sell_quantity": sell,
        }
        if len(packet) == 184:
            tick["last_trade_time"] = trade
            names = ("oi", "oi_day_high", "oi_day_low", "exchange_timestamp")
            tick |= dict(zip(names, more, strict=True))
            numbers = iter(DEPTH.unpack(packet[64:]))
            levels = [
                {"quantity": quantity, "price": price / divisor, "orders": orders}
                for quantity, price, orders in zip(numbers, numbers, numbers, strict=True)
            ]
            tick["depth"] = {"buy": levels[:5], "sell": levels[5:]}
    last_price, close_price = last / divisor, close / divisor
    names = ("open", "high", "low", "close")
    ohlc = (price / divisor for price in (open_, high, low, close))
    return tick | {
        "last_price": last_price,
        "ohlc": dict(zip(names, ohlc, strict=True)),
        "change": (last_price - close_price) * 100 / close_price,
    }


@pytest.mark.parametrize("module", ["kiteconnect", "connector.compat"])
async def test_a_kite_ticker_sees_what_was_sent(module):
    async with SimulatorServer(CONFIG) as server:
        wanted = one_of_each_exchange_for_each_mode(server.universe)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.official_client",
            module,
            server.ws_url,
            json.dumps(wanted),
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TZ": "UTC"},
            stdout=asyncio.subprocess.PIPE,
        )
        async with ended(process):
            modes = {token: mode for mode, tokens in wanted.items() for token in tokens}
            instruments = len(modes)
            assert instruments >= 25
            await server.until(lambda: server.subscriptions() == modes)
            assert all(request.action for request in server.requests)
            for _ in range(10):
                assert len(await server.step(instruments)) == instruments
                await server.heartbeat()
            form = {
                "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY",
                "order_type": "MARKET", "product": "CNC", "quantity": "10",
            }  # fmt: skip
            updates = server.place_order(CONFIG.accounts[0], "regular", form)
            await server.inject("error_frame", text="simulated complaint")
            sent = [packet for frame in server.sockets[0].sent for packet in split_frame(frame)]
            await server.send_text({"type": "message", "data": "end"})
            output, _ = await process.communicate()
    seen = json.loads(output)
    assert seen["ticks"] == [expected(packet) for packet in sent]
    shapes = {(tick["instrument_token"] & 0xFF, tick["mode"]) for tick in seen["ticks"]}
    assert shapes >= {(segment, mode) for segment in (1, 2, 3, 6, 9, 12) for mode in MODES}
    assert max(tick["last_price"] for tick in seen["ticks"]) > 2**31 / 10_000, "over 31 bits"
    assert seen["orders"] == updates
    assert [0, "simulated complaint"] in seen["errors"]
