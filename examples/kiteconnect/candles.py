"""A class that makes candles of a minute out of ticks, by the exchange's time."""

import os

from kiteconnect import KiteTicker


class CandleMaker:
    """Holds the candle that grows of each instrument, and prints each that is whole."""

    def __init__(self, tokens, minutes):
        self.tokens = tokens
        self.minutes = minutes
        self.growing = {}
        self.whole = 0
        self.ticker = KiteTicker(
            os.environ["KITE_API_KEY"],
            os.environ["KITE_ACCESS_TOKEN"],
            root=os.environ.get("KITE_ROOT"),
            reconnect_max_tries=20,
        )
        self.ticker.on_connect = self.subscribe
        self.ticker.on_ticks = self.take
        self.ticker.on_close = lambda ws, code, reason: ws.stop()

    def subscribe(self, ws, response):
        """Ask for whole packets: a quote has no time of the exchange."""
        ws.subscribe(self.tokens)
        ws.set_mode(ws.MODE_FULL, self.tokens)

    def take(self, ws, ticks):
        """Let the ticks grow their candles."""
        for tick in ticks:
            if "exchange_timestamp" not in tick:
                continue
            token, price = tick["instrument_token"], tick["last_price"]
            minute = tick["exchange_timestamp"].replace(second=0, microsecond=0)
            candle = self.growing.get(token)
            if candle is None or candle["minute"] != minute:
                if candle is not None:
                    self.close(token, candle)
                candle = self.growing[token] = {
                    "minute": minute,
                    "open": price,
                    "high": price,
                    "low": price,
                }
                candle["before"] = tick["volume_traded"]
            candle["high"] = max(candle["high"], price)
            candle["low"] = min(candle["low"], price)
            candle["close"] = price
            candle["volume"] = tick["volume_traded"] - candle["before"]
        if self.whole >= self.minutes:
            ws.close()

    def close(self, token, candle):
        """Print a candle that is whole."""
        self.whole += 1
        numbers = (candle[name] for name in ("open", "high", "low", "close", "volume"))
        print(token, candle["minute"].isoformat(), *numbers)

    def run(self):
        """Run until there are enough."""
        self.ticker.connect()


if __name__ == "__main__":
    CandleMaker([408065, 738561], minutes=4).run()
