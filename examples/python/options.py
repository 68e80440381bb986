"""What all examples take: the account from the environment, the rest from the command line.

Without an account, run `kite-connector simulate --ws-port 8765` and give the examples
`--root ws://127.0.0.1:8765`.
"""

import argparse
import os
from typing import NamedTuple

INFY, RELIANCE, NIFTY_50 = 408065, 738561, 256265


class Options(NamedTuple):
    """Of one run."""

    api_key: str
    access_token: str
    root: str
    seconds: float
    """After which the example ends."""


def read(description: str | None) -> Options:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=os.environ.get("KITE_ROOT", "wss://ws.kite.trade"))
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    return Options(
        os.environ.get("KITE_API_KEY", "simulated_key"),
        os.environ.get("KITE_ACCESS_TOKEN", "simulated_token"),
        chosen.root,
        chosen.seconds,
    )
