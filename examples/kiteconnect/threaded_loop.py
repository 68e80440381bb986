"""A loop of one's own beside the ticker's thread: modes and instruments change as it goes."""

import os
import sys
import threading

from kiteconnect import KiteTicker

INFY, RELIANCE = 408065, 738561

latest = {}
arrived = threading.Condition()


def on_ticks(ws, ticks):
    with arrived:
        for tick in ticks:
            latest[tick["instrument_token"]] = tick
        arrived.notify_all()


def wait_for(token, mode):
    with arrived:
        arrived.wait_for(lambda: latest.get(token, {}).get("mode") == mode)
        return latest[token]


connected = threading.Event()
kws = KiteTicker(
    os.environ["KITE_API_KEY"], os.environ["KITE_ACCESS_TOKEN"], root=os.environ.get("KITE_ROOT")
)
kws.on_ticks = on_ticks
kws.on_connect = lambda ws, response: connected.set()
kws.connect(threaded=True)
connected.wait()
print("connected", kws.is_connected())

kws.subscribe([INFY, RELIANCE])
print("quote", sorted(wait_for(INFY, "quote"))[:4])
kws.set_mode(kws.MODE_FULL, [INFY])
print("full", len(wait_for(INFY, "full")["depth"]["buy"]), "levels")
kws.set_mode(kws.MODE_LTP, [INFY])
print("ltp", sorted(wait_for(INFY, "ltp")))
kws.unsubscribe([RELIANCE])
print("subscribed", kws.subscribed_tokens)
kws.close()
sys.exit()
