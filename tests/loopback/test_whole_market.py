"""More instruments than a message of the control topic may name, over several accounts.

The same at full size, thirteen accounts and 117 000 instruments, is `make bench ARGS=market`.
"""

import signal

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.topics import topic_specs
from connector.settings.models import TopicSettings
from tests.support.market import whole_market

ACCOUNTS = 7
INSTRUMENTS = 20_000
SLOT_CAPACITY = 1_000
PATIENCE_SECONDS = 240


async def test_every_instrument_streams_and_a_killed_leader_is_made_good(tmp_path):
    topics = TopicSettings(replication_factor=1)
    specs = {one.name: one.partitions for one in topic_specs(topics, slots=3 * ACCOUNTS)}
    with EmbeddedBroker(specs) as kafka:
        async with whole_market(
            tmp_path,
            kafka.bootstrap_servers,
            accounts=ACCOUNTS,
            instruments=INSTRUMENTS,
            updates_per_second=0.2,
            connection={"max_symbols_per_connection": SLOT_CAPACITY},
            cluster={"session_timeout_seconds": 6},
        ) as market:
            await market.start(2)
            await market.until_all_stream(PATIENCE_SECONDS)
            assert market.most_sockets == 3 * ACCOUNTS
            leader = await market.fleet.leader()
            leader.killed = True
            leader.send_signal(signal.SIGKILL)
            await market.until_all_stream(PATIENCE_SECONDS)
            assert market.most_sockets == 3 * ACCOUNTS
            (survivor,) = market.fleet.alive
            status = await market.fleet.status(survivor)
            assert status["cluster"]["leader"]
            assert status["ready"], status
            assert (
                sum(len(slot) > 0 for slot in status["cluster"]["slots"].values()) == 3 * ACCOUNTS
            )
            assert status["accounting"]["dropped"] == {}
