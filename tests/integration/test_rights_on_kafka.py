"""The ACLs that docs/security.md lists: enough, each of them needed, and each missed out loud."""

import json
import re
import subprocess

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from connector.cluster.layout import partitions
from connector.control.client import ControlClient, new_id
from connector.control.commands import Status
from connector.errors import ConnectorError, TopicError
from connector.kafka.config import client_properties
from connector.kafka.groups import cluster_group
from connector.kafka.topics import TopicNames
from connector.settings.models import AccountSettings
from connector.testing import wait_until
from tests.integration.secured import Right, documented, kafka_settings
from tests.integration.service_process import CLI, connector, ctl

pytestmark = pytest.mark.integration

TOPICS = TopicNames("kite")
SLOTS = partitions((AccountSettings(api_key="k"),))
TRIES = 5
NO_CREATION = {"KITE_TOPICS__CREATE": "false"}


CHAIN = {"type": "option-chain", "underlying": "NIFTY", "strikes": 1}


def named(user):
    """A user of one principal's rights: the users differ so that what they do can be told apart."""
    return f"{user}-user"


@pytest.fixture(scope="module")
def topics(secured):
    """Made by a creator, who lacks now the one right, now the other."""
    there = [name for name in secured.admin.list_topics(timeout=10).topics if name[:5] == "kite."]
    for future in (secured.admin.delete_topics(there) if there else {}).values():
        future.result(20)
    creator = named("creator")
    create, alter = documented("creator")
    assert (create.operation, alter.operation) == ("Create", "Alter")
    secured.user(creator, documented("connector"))
    with pytest.raises(TopicError, match=r"cannot be created: .*uthorization failed"):
        secured.make_topics(creator, slots=1)
    secured.allow(creator, [create])
    assert "kite.subscriptions" in secured.make_topics(creator, slots=1).created
    with pytest.raises(TopicError, match=r"cannot be extended .*uthorization failed"):
        secured.make_topics(creator, slots=SLOTS)
    secured.allow(creator, [alter])
    # it is the controller that decides, and it may be told of the rule later than the broker
    report = wait_until(lambda: made(secured, creator))
    assert report.extended == ["kite.subscriptions"]


def of(topic, operation):
    return Right("topic", topic, False, operation)


def made(secured, creator):
    try:
        return secured.make_topics(creator, slots=SLOTS)
    except TopicError:
        return None


@pytest.fixture(scope="module")
def write(secured):
    """Writes as the administrator, who may everything."""
    producer = Producer(secured.admin_properties)

    def write(topic, value, key="test"):
        producer.produce(topic, value, key)
        assert producer.flush(10) == 0

    return write


def consume(secured, topic):
    """The first record of a topic, read as an ordinary consumer reads it."""
    properties = client_properties(
        kafka_settings(secured.sasl(named("consumer"))),
        **{
            "group.id": "consumer-of-tests",
            "auto.offset.reset": "earliest",
            # the first record again, however often it is read
            "enable.auto.commit": False,
            "log_level": 0,
        },
    )
    consumer = Consumer(properties)
    try:
        consumer.subscribe([topic])
        message = wait_until(lambda: consumer.poll(0.1))
        if message.error() is not None:
            raise KafkaException(message.error())
        return message.value()
    finally:
        consumer.close()


def tail(secured):
    """The same by `kite-connector tail`."""
    done = subprocess.run(
        [CLI, "tail", "nse", "--from-beginning", "-n", "1"],
        env=secured.sasl(named("consumer")) | {"KITE_REGISTRY__URL": "mock://none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise TopicError("kite.ticks.nse", done.stderr)
    return done.stdout


def operate(secured):
    """What `ctl` does: ask the leader, read the state, and who owns what."""
    kafka = kafka_settings(secured.sasl(named("operator")))
    with ControlClient(kafka, TOPICS, name="kite-connector") as client:
        client.send(Status(id=new_id(), type="status"))
        client.subscribed()
        if client.owners("kite-connector") is None:
            # which leaves out why: a coordinator may also be slow
            admin = AdminClient(client_properties(kafka, log_level=0))
            group = cluster_group("kite-connector", TOPICS.prefix)
            admin.describe_consumer_groups([group])[group].result(20)
            raise TopicError(TOPICS.subscriptions, "nobody told the owners")


def read_all(secured):
    """What a consumer does."""
    consume(secured, "kite.ticks.nse")
    consume(secured, TOPICS.events)
    tail(secured)


def each_is_needed(secured, who, work):
    """Take one right away after the other: each time Kafka refuses the work."""
    work(secured)
    for right in documented(who):
        secured.disallow(named(who), [right])
        # a broker may learn of a changed rule a little later than it tells
        told = [complaint(secured, work)]
        while "uthorization failed" not in told[-1]:
            assert len(told) < TRIES, f"{who} is not refused for want of {right}: {told}"
            told.append(complaint(secured, work))
        secured.allow(named(who), [right])
        wait_until(lambda: not complaint(secured, work))


def complaint(secured, work):
    """What the work fails with; empty where it succeeds."""
    try:
        work(secured)
    except (ConnectorError, KafkaException) as error:
        return str(error)
    return ""


def test_the_documented_rights_are_enough_and_all_are_used(
    secured, simulated_feed, topics, write, tmp_path
):
    for who in ("connector", "operator", "consumer"):
        secured.user(named(who), documented(who))
    operator = secured.sasl(named("operator")) | simulated_feed.environment
    # what is to be taken away from the list of instruments, and what nobody can be answered about
    write(TOPICS.instruments, b"of yesterday", "1")
    write(TOPICS.control, b"{}")
    environment = secured.sasl(named("connector")) | simulated_feed.environment
    with connector(tmp_path / "log", environment, NO_CREATION) as running:
        running.until_ready()
        done = ctl(operator, "subscribe", "--mode", "full", "NSE:INFY", "--json")
        assert json.loads(done.stdout)["status"] == "APPLIED", done.stderr
        simulated_feed.place_order()
        # its price is read from the ticks
        chain = ("chain", "--underlying", "NIFTY", "--strikes", "1", "-w", "chain")
        done = ctl(operator, "set-rule", *chain, "--json")
        assert json.loads(done.stdout)["status"] == "APPLIED", done.stderr
        wait_until(lambda: running.status()["cluster"]["rules"][0]["middle"])
        wait_until(lambda: running.status()["accounting"]["delivered"] > 20)
        wait_until(lambda: "instruments_published" in running.log)
        done = ctl(operator, "list", "--json")
        assert "INFY" in done.stdout, done.stderr
        owners = json.loads(ctl(operator, "status", "--json").stdout)["owners"]
        assert len(owners) == SLOTS
        read_all(secured)
        # what another replica gets is handed over, and comes back in the same way
        with connector(tmp_path / "other", environment, NO_CREATION) as other:
            wait_until(lambda: other.status().get("connections"))
            assert other.stop() == 0
        for who in ("connector", "operator", "consumer"):
            allowed, denied = secured.decisions(named(who))
            # readers ask for the coordinator of a group that they never join, and do without
            more = [line for line in denied if "Group:LITERAL:kite-connector-" not in line]
            assert not more, f"{who} asks for more than is listed: {more[0]}"
            assert allowed == set(documented(who)), f"{who} does not need all that is listed"
        each_is_needed(secured, "operator", operate)
        each_is_needed(secured, "consumer", read_all)
        code = running.stop()
    assert code == 0, running.log[-4000:]
    assert '"dropped": {}' in running.log.splitlines()[-1]
    assert not re.findall(r".*authoriz.*", running.log, re.IGNORECASE)
    # nothing beyond its own two was needed while nothing was missing
    allowed, denied = secured.decisions(named("creator"))
    assert set(documented("creator")) <= allowed
    assert {re.search(r"operation = (\w+)", line)[1] for line in denied} == {"CREATE", "ALTER"}


def test_without_any_one_right_the_connector_says_what_it_lacks(
    secured, simulated_feed, topics, write, tmp_path
):
    user = named("lacking")
    rights = documented("connector")
    checks = [right for right in rights if right.operation == "DescribeConfigs"]
    reading, writing = of("kite.instruments", "Read"), of("kite.instruments", "Write")
    handing_over = Right("group", "kite-connector:kite-handover", False, "Read")
    tried = {*checks, reading, handing_over}
    secured.user(user, set(rights) - tried)
    environment = secured.sasl(user) | simulated_feed.environment
    refused = r'"topic": "{}", .*uthorization failed.*record_refused'

    def said(running, pattern, since=0):
        """Wait for a warning or an error."""
        line = re.compile(f'^(?=.*"level": "(?:warning|error)").*{pattern}', re.MULTILINE)
        wait_until(lambda: line.search(running.log, since))

    def command(**fields):
        write(TOPICS.control, json.dumps({"id": f"rights-{len(tried)}", **fields}).encode())

    def subscribe():
        command(type="subscribe", instruments=["NSE:INFY", "NSE:TCS"], mode="full")

    steps = [
        (Right("topic", "kite.ticks.", True, "Write"), refused.format(r"kite\.ticks\.nse"), None),
        (of("kite.orders", "Read"), r"kite\.orders: .*orders_topic_unreadable", None),
        (
            of("kite.orders", "Write"),
            refused.format(r"kite\.orders"),
            simulated_feed.place_order,
        ),
        (
            of("kite.events", "Write"),
            refused.format(r"kite\.events"),
            lambda: command(type="reconnect", slot=0),
        ),
        (
            of("kite.deadletter", "Write"),
            r"kite\.deadletter: .*transaction.aborted",
            lambda: write(TOPICS.control, b"{}"),
        ),
        (
            of("kite.control.replies", "Write"),
            r"kite\.control\.replies: .*transaction.aborted",
            subscribe,
        ),
        (
            of("kite.subscriptions", "Write"),
            r"kite\.subscriptions.*Topic authorization failed",
            subscribe,
        ),
        (
            Right("group", "kite-connector:kite", False, "Read"),
            "Group authorization failed: grant this account Read on the group.*member_refused",
            None,
        ),
        (
            Right("transactional id", "kite-connector:kite-leader", False, "Write"),
            "Transactional Id authorization failed.*leader.interrupted",
            subscribe,
        ),
        (
            of("kite.subscriptions", "Read"),
            r"kite\.subscriptions: .*member_refused",
            None,
        ),
        (of("kite.control", "Read"), r"kite\.control: .*member_refused", None),
        (
            Right("topic", "kite.ticks.", True, "Read"),
            r"kite\.ticks\.indices: .*spots_unreadable",
            lambda: command(type="set-rule", rule="chain", claims=CHAIN),
        ),
    ]
    with connector(tmp_path / "log", environment, NO_CREATION) as running:
        for topic in (*TOPICS.all_ticks().values(), *(right.name for right in checks[1:])):
            said(running, rf'"topic": "{re.escape(topic)}", .*topic_configuration_unreadable')
        said(running, r"kite\.instruments: .*instruments_not_published")
        said(running, rf"Read on the group {handing_over.name}.*handover_unknown")
        running.until_ready()
        subscribe()
        wait_until(lambda: running.status()["accounting"]["delivered"] > 20)
        before = reading
        for right, pattern, provoke in steps:
            assert right in rights
            since = len(running.log)
            secured.disallow(user, [right])
            # what was lacking before comes back once this is lacking: nothing recovers in between
            secured.allow(user, [before])
            if provoke is not None:
                provoke()
            said(running, pattern, since)
            tried.add(right)
            before = right
        assert running.stop() == 0
        told = running.log
    secured.allow(user, [before, *checks])
    secured.disallow(user, [writing])
    # to be taken away by the leader, which it now cannot
    write(TOPICS.instruments, b"of yesterday", "1")
    with connector(tmp_path / "log2", environment, NO_CREATION) as running:
        said(running, refused.format(r"kite\.instruments"))
        assert {*tried, writing} == set(rights)
        secured.allow(user, [writing])
        # after all that: commands are applied again
        operator = secured.sasl(named("operator")) | simulated_feed.environment
        assert ctl(operator, "subscribe", "NSE:TCS").returncode == 0
        running.until_ready()
        assert running.stop() == 0
        told += running.log
    assert "Traceback" not in told
    assert '"exception"' not in told
