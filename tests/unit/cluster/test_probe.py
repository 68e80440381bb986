"""Questions to the brokers with a client of its own, of the embedded broker and of none."""

from connector.cluster.probe import coordinator_answers, topics_gone
from tests.support.replicas import TOPICS, broker


def test_a_broker_that_answers_says_what_there_is():
    with broker() as kafka:
        properties = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g"}
        assert coordinator_answers(properties, TOPICS.control)
        assert topics_gone(properties, [TOPICS.control, TOPICS.subscriptions]) == set()


def test_no_answer_says_nothing_of_a_topic():
    properties = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}
    assert not coordinator_answers(properties, TOPICS.control)
    assert topics_gone(properties, [TOPICS.control]) == set()
