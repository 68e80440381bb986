"""A replica of the control plane in a process of its own, so that it can be killed or frozen.

python -m tests.support.replica_process BOOTSTRAP_SERVERS FEED [SETTINGS_AS_JSON]

Prints a line of JSON whenever what it owns changes; ends at SIGTERM.
"""

import asyncio
import json
import signal
import sys

from structlog.testing import capture_logs

from tests.support.replicas import Replica, settings


async def main(bootstrap_servers, feed, changes="{}"):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    replica = Replica(settings(bootstrap_servers, feed, **json.loads(changes)))
    await replica.start()
    said = None
    while not stop.is_set():
        status = replica.cluster.status()
        says = {
            "leads": status["watchlists"] is not None,
            "slots": {n: slot["state"] for n, slot in status["slots"].items()},
        }
        if says != said:
            print(json.dumps(says), flush=True)
            said = says
        try:
            await asyncio.wait_for(stop.wait(), 0.02)
        except TimeoutError:
            continue
    await replica.stop()
    print(json.dumps({"leads": False, "slots": {}}), flush=True)


if __name__ == "__main__":
    with capture_logs():  # the log would go to the same stream
        asyncio.run(main(*sys.argv[1:]))
