"""The first program of everybody: three callbacks, and a connect that blocks until the close."""

import os

from kiteconnect import KiteTicker

INFY, NIFTY_50 = 408065, 256265
ENOUGH = 12

seen = 0


def on_connect(ws, response):
    ws.subscribe([INFY, NIFTY_50])
    ws.set_mode(ws.MODE_FULL, [INFY])


def on_ticks(ws, ticks):
    global seen  # noqa: PLW0603 - as such programs are written
    for tick in ticks:
        seen += 1
        print(tick["instrument_token"], tick["mode"], tick["last_price"], round(tick["change"], 6))
    if seen >= ENOUGH:
        ws.close()


def on_close(ws, code, reason):
    ws.stop()


kws = KiteTicker(
    os.environ["KITE_API_KEY"], os.environ["KITE_ACCESS_TOKEN"], root=os.environ.get("KITE_ROOT")
)
kws.on_ticks = on_ticks
kws.on_connect = on_connect
kws.on_close = on_close
kws.connect()
print("ended")
