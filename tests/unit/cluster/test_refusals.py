import pytest
from confluent_kafka import KafkaError

from connector.cluster.refusals import refusal
from connector.settings.models import ClusterSettings

CLUSTER = ClusterSettings(session_timeout_seconds=12.5, group_protocol="consumer")


def said(code, text=None, topic=None):
    return refusal(KafkaError(code, text), topic, "kite-connector:kite", CLUSTER)


@pytest.mark.parametrize(
    ("code", "helps"),
    [
        (KafkaError.INVALID_SESSION_TIMEOUT, "cluster.session_timeout_seconds is 12.5, outside"),
        (KafkaError.GROUP_MAX_SIZE_REACHED, "the group kite-connector:kite has as many members"),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, "cluster.group_protocol must be the same"),
        (KafkaError.UNSUPPORTED_ASSIGNOR, "leave group.remote.assignor out"),
        (KafkaError.UNRELEASED_INSTANCE_ID, "leave it out, or give each replica its own"),
        (KafkaError.FENCED_INSTANCE_ID, "leave it out, or give each replica its own"),
        (KafkaError.UNSUPPORTED_VERSION, "cluster.group_protocol is consumer, which needs"),
        (KafkaError.INVALID_GROUP_ID, "made of name and topics.prefix"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "Read on the group kite-connector:kite"),
    ],
)
def test_a_refusal_names_what_was_said_and_what_helps(code, helps):
    reason = said(code)
    assert reason.startswith(KafkaError(code).str())
    assert helps in reason


def test_a_topic_is_named_once():
    code = KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert said(code, "no right", "kite.control").startswith("kite.control: no right: grant")
    assert said(code, "kite.control: no", "kite.control").count("kite.control") == 1


@pytest.mark.parametrize(
    "code",
    [KafkaError._TRANSPORT, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE],
)
def test_what_ends_by_itself_is_no_refusal(code):
    assert said(code) is None


def test_a_fatal_error_is_known_by_its_text():
    text = "Fatal error: Broker: API version not supported: ConsumerGroupHeartbeat fatal error: x"
    reason = said(KafkaError._FATAL, text)
    assert reason.startswith("Broker: API version not supported: cluster.group_protocol is")
    assert said(KafkaError._FATAL, "Fatal error: Local: something else") is None


def test_a_long_text_is_cut():
    assert len(said(KafkaError.INVALID_GROUP_ID, "x" * 100_000)) < 500
