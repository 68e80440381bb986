"""A watcher of orders that asks for no ticks at all, and logs what becomes of its connection."""

import logging
import os

from kiteconnect import KiteTicker

logging.basicConfig(level=logging.WARNING)
positions = {}


def on_connect(ws, response):
    print("waiting for orders")


def on_order_update(ws, data):
    print(data["order_id"], data["status"], data["filled_quantity"], "of", data["quantity"])
    if data["status"] == "COMPLETE":
        sign = 1 if data["transaction_type"] == "BUY" else -1
        name = f"{data['exchange']}:{data['tradingsymbol']}"
        positions[name] = positions.get(name, 0) + sign * data["filled_quantity"]
    if data["transaction_type"] == "SELL" and data["status"] == "COMPLETE":
        ws.close()


def on_close(ws, code, reason):
    ws.stop()


def on_error(ws, code, reason):
    print("error", code, reason)


kws = KiteTicker(
    os.environ["KITE_API_KEY"], os.environ["KITE_ACCESS_TOKEN"], root=os.environ.get("KITE_ROOT")
)
kws.on_connect = on_connect
kws.on_order_update = on_order_update
kws.on_error = on_error
kws.on_close = on_close
kws.connect()
print("positions", positions)
