"""Ticks go through a queue to a thread that writes them to SQLite in their order."""

import os
import queue
import sqlite3
import threading

from kiteconnect import KiteTicker

TOKENS = [408065, 738561, 779521]
ENOUGH = 30

waiting = queue.Queue()


def write(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE ticks (token INTEGER, mode TEXT, price REAL, volume INTEGER)")
    rows = 0
    while rows < ENOUGH:
        ticks = waiting.get()
        with database:
            database.executemany(
                "INSERT INTO ticks VALUES (:instrument_token, :mode, :last_price, :volume_traded)",
                ticks,
            )
        rows += len(ticks)
    kws.close()
    for row in database.execute(
        "SELECT token, mode, count(*), max(price), max(volume) FROM ticks GROUP BY 1, 2 ORDER BY 1"
    ):
        print(*row)
    database.close()


kws = KiteTicker(
    os.environ["KITE_API_KEY"], os.environ["KITE_ACCESS_TOKEN"], root=os.environ.get("KITE_ROOT")
)
kws.on_ticks = lambda ws, ticks: waiting.put(ticks)
kws.on_connect = lambda ws, response: ws.subscribe(TOKENS)
kws.connect(threaded=True)
writer = threading.Thread(target=write, args=(os.environ.get("TICKS_DB", ":memory:"),))
writer.start()
writer.join()
