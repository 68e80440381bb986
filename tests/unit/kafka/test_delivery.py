import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.kafka.delivery import ends_the_client, new_producer
from connector.settings.models import KafkaSettings


def made(**client):
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", client=client)
    return new_producer(kafka, "test", on_error=lambda _: None, on_statistics=lambda _: None)


def test_promises_cannot_be_set_away():
    with capture_logs() as logs:
        made(**{"acks": "1", "enable.idempotence": False, "batch.size": 100_000})
    (log,) = logs
    assert log["properties"] == ["acks", "enable.idempotence"]


def test_what_librdkafka_refuses_is_a_wrong_setting():
    with pytest.raises(SettingsError, match=r"compression\.level"):
        made(**{"compression.level": 99})


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (KafkaError(KafkaError._FATAL, "", True), True),
        (KafkaError(KafkaError._PURGE_QUEUE), True),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER), True),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), False),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), False),
        (KafkaError(KafkaError._UNKNOWN_TOPIC), False),
    ],
)
def test_which_failures_speak_against_a_record(error, ends):
    assert ends_the_client(error) == ends
