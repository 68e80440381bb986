"""The Kafka that a run uses, and how it is taken away.

The embedded one unless the environment says otherwise: `KAFKA_BOOTSTRAP_SERVERS` names one that is
there and stays there, `CHAOS_KAFKA=docker` starts one that is killed and paused.
"""

import contextlib
import os

from connector.embedded.broker import EmbeddedBroker
from tests.chaos.kafka_faults import EmbeddedRefusals, RealRefusals
from tests.chaos.plan import Kind

SETTINGS = {
    "KAFKA_AUTHORIZER_CLASS_NAME": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND": "true",
    "KAFKA_BROKER_SESSION_TIMEOUT_MS": "12000",
}
"""Everybody may do what no ACL forbids; a broker that this machine leaves no time is not fenced for
it by its own controller."""


class Embedded:
    """librdkafka's mock cluster: its transactions are for show.

    It fences no leader that wakes after another has taken over, shows what aborted transactions
    wrote, and keeps a part of one that was cut off.
    """

    client = EmbeddedBroker.client
    outages = True
    transactions = False
    refusals = frozenset({Kind.CLOCK, Kind.RIGHT})
    refuses_all = True
    """What it refuses it refuses to everybody, whatever the topic."""

    def __init__(self, broker):
        self._broker = broker
        self.bootstrap_servers = broker.bootstrap_servers
        self.refusing = EmbeddedRefusals(broker)

    def create_topics(self, specs):
        for spec in specs:
            self._broker.create_topic(spec.name, spec.partitions)

    def set_down(self, how):
        self._broker.set_down()

    def set_up(self, how):
        self._broker.set_up()


class Given:
    """A real one, somebody else's."""

    client: dict = {}  # noqa: RUF012 - empty, and stays so
    outages = False
    transactions = True
    refusals = frozenset()
    refuses_all = False

    def __init__(self, bootstrap_servers):
        self.bootstrap_servers = bootstrap_servers

    def create_topics(self, specs):
        """The replicas do."""


class Own(Given):
    """A real one in a container."""

    outages = True
    refusals = frozenset({Kind.CLOCK, Kind.RIGHT, Kind.TOPIC})

    def __init__(self, container):
        super().__init__(container.bootstrap_servers)
        self.refusing = RealRefusals(container.bootstrap_servers)
        self._container = container
        self._pause = contextlib.ExitStack()

    def set_down(self, how):
        if how == "crash":
            self._container.kill_broker()
        else:
            self._pause.enter_context(self._container.paused())

    def set_up(self, how):
        if how == "crash":
            self._container.start_broker()
        else:
            self._pause.close()


@contextlib.contextmanager
def broker():
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield Given(given)
    elif os.environ.get("CHAOS_KAFKA") == "docker":
        from tests.integration.containers import kafka_container

        with kafka_container(**SETTINGS) as container:
            yield Own(container)
    else:
        with EmbeddedBroker() as embedded:
            yield Embedded(embedded)
