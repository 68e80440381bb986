import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.refusals import Fault, TopicTrouble, fault_of, reason_of
from connector.settings.models import KafkaSettings

NAMES = sorted(
    name
    for name in dir(KafkaError)
    if name.isupper() and isinstance(getattr(KafkaError, name), int)
)
RECORD = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD")
TOPIC = (
    "TOPIC_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "UNKNOWN_TOPIC_OR_PART",
    "_UNKNOWN_TOPIC",
    "_UNKNOWN_PARTITION",
    "UNKNOWN_TOPIC_ID",
    "INVALID_TIMESTAMP",
    "POLICY_VIOLATION",
    "NOT_ENOUGH_REPLICAS",
    "KAFKA_STORAGE_ERROR",
    "UNSUPPORTED_COMPRESSION_TYPE",
    "THROTTLING_QUOTA_EXCEEDED",
    "INVALID_REQUIRED_ACKS",
    "INVALID_CONFIG",
    "LEADER_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT",
)
CLIENT = (
    "_PURGE_QUEUE",
    "_PURGE_INFLIGHT",
    "_FATAL",
    "_GAPLESS_GUARANTEE",
    "_TRANSPORT",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "UNKNOWN_PRODUCER_ID",
    "INVALID_PRODUCER_EPOCH",
)
UNCLEAR = ("UNKNOWN", "INVALID_MSG", "INVALID_MSG_SIZE", "_INVALID_DIFFERENT_RECORD", "_FAIL")


def error(name, *, fatal=False):
    return KafkaError(getattr(KafkaError, name), name, fatal)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, Fault.RECORD) for name in RECORD),
        *((name, Fault.TOPIC) for name in TOPIC),
        *((name, Fault.CLIENT) for name in CLIENT),
        *((name, Fault.UNCLEAR) for name in UNCLEAR),
    ],
)
def test_whose_fault_it_is(name, fault):
    assert fault_of(error(name)) is fault


def test_a_fatal_error_is_the_clients_whatever_its_name():
    assert fault_of(error("MSG_SIZE_TOO_LARGE", fatal=True)) is Fault.CLIENT


@given(st.sampled_from(NAMES))
def test_only_what_no_waiting_can_mend_is_a_records_fault(name):
    """Any other code of today or tomorrow loses nothing to the dead letters at once."""
    assert (fault_of(error(name)) is Fault.RECORD) == (name in RECORD)


@given(st.sampled_from(NAMES))
def test_every_trouble_names_the_topic_and_what_to_do(name):
    said = error(name)
    text = TopicTrouble("kite.ticks.nse", said.name(), said.str(), 0.0).explain(
        KafkaSettings(bootstrap_servers="broker-1:9092")
    )
    about_all = ("UNSUPPORTED_VERSION", "UNSUPPORTED_COMPRESSION_TYPE", "SASL_AUTHENTICATION")
    about_all += ("THROTTLING", "TRANSACTIONAL_ID")
    assert "kite.ticks.nse" in text or name.startswith(about_all)
    assert "{" not in text
    assert reason_of(said) == name.strip("_").lower()


@pytest.mark.parametrize(
    ("kafka", "principal"),
    [
        (
            KafkaSettings(
                security_protocol="SASL_SSL",
                sasl_mechanism="PLAIN",
                sasl_username="feed",
                sasl_password="secret",
            ),
            "User:feed ",
        ),
        (KafkaSettings(), "User:ANONYMOUS "),
    ],
)
def test_a_missing_right_is_told_with_the_command_that_grants_it(kafka, principal):
    text = TopicTrouble("t", "TOPIC_AUTHORIZATION_FAILED", "", 0.0).explain(kafka)
    assert "kafka-acls.sh --bootstrap-server localhost:9092 --add" in text
    assert principal in text
    assert "--operation Write" in text
    assert "secret" not in text


def test_a_topic_that_is_missing_may_be_made_again():
    assert TopicTrouble("t", "UNKNOWN_TOPIC_OR_PART", "", 0.0).missing
    assert TopicTrouble("t", "_UNKNOWN_TOPIC", "", 0.0).missing
    assert not TopicTrouble("t", "TOPIC_AUTHORIZATION_FAILED", "", 0.0).missing
