"""The control client against a leader, over the embedded broker."""

import threading

import pytest
from confluent_kafka import TopicPartition

from connector.control.client import ControlClient, new_id
from connector.control.commands import Delete, Status, Subscribe
from connector.control.reply import ReplyStatus
from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, KafkaError, NoReplyError, TopicError
from connector.kafka.reader import Reader
from connector.kite.wire.models import Mode
from connector.settings.models import KafkaSettings
from tests.support.leaders import leader
from tests.support.masters import FakeMaster
from tests.support.replicas import TOPICS

A, B, C = 257, 513, 769
MASTER = FakeMaster({"NSE:A": A, "NSE:NIFTY 50": B})


def client_of(kafka, **options):
    brokers = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    return ControlClient(brokers, TOPICS, **options)


@pytest.fixture
def client(kafka):
    with leader(kafka, MASTER), client_of(kafka) as opened:
        yield opened


def test_send_returns_the_reply(client):
    command = Subscribe(
        id=new_id(),
        type="subscribe",
        watchlist="w",
        instruments=("NSE:A", C),
        mode=Mode.FULL,
        unlisted=True,
    )
    reply = client.send(command)
    assert (reply.id, reply.status, reply.accepted) == (command.id, ReplyStatus.APPLIED, 2)
    assert client.send(command) == reply
    status = client.send(Status(id=new_id(), type="status"))
    assert status.payload.watchlists == {"w": 2}
    assert client.send(Delete(id=new_id(), type="delete", watchlist="w")).revision == 2


def test_status_is_one_reply_however_many_pages_the_leader_answers_in(client, monkeypatch):
    monkeypatch.setattr("connector.control.status.STATUS_WATCHLISTS", 2)
    for name in "edcba":
        command = Subscribe(
            id=new_id(), type="subscribe", watchlist=name, instruments=(C,), unlisted=True
        )
        client.send(command)
    one = client.send(Status(id=new_id(), type="status")).payload
    assert (list(one.watchlists), one.after) == (["a", "b"], "b")
    whole = client.status().payload
    assert (whole.watchlists, whole.after) == (dict.fromkeys("abcde", 1), None)


def test_subscriptions_come_from_the_topic(client):
    assert client.subscribed().carried == {}
    instruments = ("NSE:A", C)
    client.send(
        Subscribe(id="1", type="subscribe", watchlist="w", instruments=instruments, unlisted=True)
    )
    client.send(Subscribe(id="2", type="subscribe", instruments=(C,), mode=Mode.LTP, unlisted=True))
    found = client.subscribed().carried
    assert {token: (one.slot, one.subscription.symbol) for token, one in found.items()} == {
        A: (0, "NSE:A"),
        C: (1, None),
    }
    assert found[C].subscription.claims == {"w": Mode.QUOTE, "default": Mode.LTP}


def test_watch_sees_replies_and_changes(kafka, client):
    seen = []
    watching = threading.Event()

    def watch():
        with client_of(kafka) as watcher:
            changes = watcher.watch(20)
            original = watcher._messages

            def messages(deadline):
                watching.set()
                return original(deadline)

            watcher._messages = messages
            for change in changes:
                seen.append(change)
                if change.reply is not None and change.reply.id == "2":
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    assert watching.wait(20)
    client.send(Subscribe(id="1", type="subscribe", watchlist="w", instruments=("NSE:A",)))
    client.send(Delete(id="2", type="delete", watchlist="w"))
    thread.join(20)
    replies = [change.reply.id for change in seen if change.reply]
    assert replies == ["1", "2"]
    records = [change for change in seen if change.token]
    assert records[0].subscription.symbol == "NSE:A"
    assert {(change.slot, change.token) for change in records} == {(0, A)}


def test_without_a_leader_there_is_no_reply(kafka):
    says = r"no reply to command 7 within 0\.2 s"
    with client_of(kafka) as client, pytest.raises(NoReplyError, match=says):
        client.send(Status(id="7", type="status"), 0.2)


def test_a_command_behind_an_open_transaction_is_said_to_be(kafka, monkeypatch):
    # the embedded broker has no end of what is committed
    monkeypatch.setattr(Reader, "ends", lambda _, topic: [TopicPartition(topic, 0, 0)])
    with client_of(kafka) as client, pytest.raises(NoReplyError, match="has left open") as caught:
        client.send(Status(id="7", type="status"), 0.2)
    assert caught.value.held


def test_without_topics_it_says_so():
    with EmbeddedBroker({"other": 1}) as kafka, client_of(kafka) as client:
        kafka.set_topic_error(TOPICS.replies, 3)  # UNKNOWN_TOPIC_OR_PART
        with pytest.raises(TopicError, match="has the connector been started"):
            client.send(Status(id="7", type="status"))


def test_without_a_broker_it_says_so(kafka):
    kafka.set_down()
    with client_of(kafka, broker_seconds=0.3) as client:
        for use in (client.subscribed, lambda: client.send(Status(id="7", type="status"))):
            with pytest.raises(BrokerUnreachableError):
                use()


def test_a_closed_client_is_of_no_use(kafka):
    client = client_of(kafka)
    with pytest.raises(KafkaError, match="not open"):
        client.subscribed()
