"""Runs a KiteTicker until it is told `end`, and prints what it made of the feed.

The ticker is Kite's own or ours, by the name of the module that it is imported from: all else is
the same program. One of its own, since the Twisted reactor of Kite's runs once in a process. Times
are printed as epoch seconds; run it with TZ=UTC, since both make naive local times of them.

    python -m tests.support.official_client kiteconnect ws://127.0.0.1:1234 '{"full": [408065]}'
"""

import importlib
import json
import sys
import threading
from datetime import UTC, datetime

# in seconds: of a run that goes wrong
PATIENCE = 30


def main(module, root, subscriptions):
    ticker = importlib.import_module(module).KiteTicker(
        "simulated_key", "simulated_token", root=root, reconnect=False
    )
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

    patience = threading.Timer(PATIENCE, ticker.stop)
    patience.daemon = True
    patience.start()
    ticker.connect()
    patience.cancel()
    json.dump(seen, sys.stdout, default=seconds)


def seconds(value):
    assert isinstance(value, datetime)
    return int(value.replace(tzinfo=UTC).timestamp())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
