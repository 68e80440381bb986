"""sys.exit() in a handler of a user's own ends the program, whichever event loop there is."""

import asyncio
import sys

import pytest
import uvloop

from connector import KiteTickerManager, Mode, StaticCredentials
from connector.kite.config import KiteManagerConfig
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import RecordingHandler


class Exits(RecordingHandler):
    """Ends the program when it is called by this name for the first time."""

    def __init__(self, name):
        super().__init__()
        setattr(self, name, self.exit)
        self.exited = False

    def exit(self, *_):
        if not self.exited:
            self.exited = True
            sys.exit(7)
        return ()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("name", ["opened", "expect", "frame", "message", "event"])
def test_a_handler_may_end_the_program(run, name):
    async def stream():
        handler = Exits(name)
        account = StaticCredentials("simulated_key", "simulated_token")
        async with (
            SimulatorServer(SimulatorConfig()) as feed,
            KiteTickerManager(
                accounts=[account],
                config=KiteManagerConfig(max_connections=1),
                root=feed.ws_url,
                handler_factory=lambda _slot: handler,
            ) as manager,
        ):
            manager.subscribe_symbols([408065], Mode.FULL)
            async with asyncio.timeout(60):
                await asyncio.Event().wait()

    with pytest.raises(SystemExit) as ended:
        run(stream())
    assert ended.value.code == 7
