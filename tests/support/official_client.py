"""Runs Kite's own Python client until it is told `end`, and prints what it made of the feed.

A program of its own: its Twisted reactor runs once in a process. Times are printed as epoch
seconds; run it with TZ=UTC, since the client makes naive local times of them.

    python -m tests.support.official_client ws://127.0.0.1:1234 '{"full": [408065]}'
"""

import json
import sys
from datetime import UTC, datetime

from kiteconnect import KiteTicker

# in seconds: of a run that goes wrong
PATIENCE = 30


def main(root, subscriptions):
    ticker = KiteTicker("simulated_key", "simulated_token", root=root, reconnect=False)
    seen = {"ticks": [], "orders": [], "errors": []}

    def on_connect(ws, _):
        for mode, tokens in subscriptions.items():
            ws.subscribe(tokens)
            ws.set_mode(mode, tokens)

    def on_message(ws, payload, is_binary):
        if not is_binary and json.loads(payload) == {"type": "message", "data": "end"}:
            ws.stop()

    ticker.on_connect = on_connect
    ticker.on_ticks = lambda _, ticks: seen["ticks"].extend(ticks)
    ticker.on_order_update = lambda _, order: seen["orders"].append(order)
    ticker.on_error = lambda _, code, reason: seen["errors"].append([code, str(reason)])
    ticker.on_message = on_message

    from twisted.internet import reactor

    reactor.callLater(PATIENCE, reactor.stop)
    ticker.connect()
    json.dump(seen, sys.stdout, default=seconds)


def seconds(value):
    assert isinstance(value, datetime)
    return int(value.replace(tzinfo=UTC).timestamp())


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
