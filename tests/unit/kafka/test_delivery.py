import pytest
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.kafka import delivery
from connector.kafka.clients import VARIABLE, ClientCallbacks
from connector.kafka.config import ClientLog
from connector.kafka.delivery import largest_group, new_producer
from connector.kafka.spooling import TAKE_BACK_SECONDS
from connector.settings.models import KafkaSettings


def made(*, in_groups=False, one_by_one=False, batch_bytes=None, **client):
    return new_producer(
        KafkaSettings(bootstrap_servers="127.0.0.1:1", client=client),
        "test",
        ClientCallbacks(*[lambda *_: None] * 4, log=ClientLog("test")),
        in_groups=in_groups,
        one_by_one=one_by_one,
        batch_bytes=batch_bytes,
    )


@pytest.fixture(params=["native", "confluent"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setenv(VARIABLE, request.param)


def test_promises_cannot_be_set_away():
    with capture_logs() as logs:
        made(**{"acks": "1", "enable.idempotence": False, "batch.size": 100_000})
    (log,) = logs
    assert log["properties"] == ["acks", "enable.idempotence"]


def test_what_librdkafka_refuses_is_a_wrong_setting():
    with pytest.raises(SettingsError, match=r"compression\.level"):
        made(**{"compression.level": 99})


def test_one_group_at_a_time_needs_no_client_that_ends_with_it(monkeypatch):
    properties = []
    monkeypatch.setattr(delivery, "new_client", lambda given, *_: properties.append(given))
    made()
    made(in_groups=True)
    batches, groups = properties
    assert (batches["enable.idempotence"], batches["enable.gapless.guarantee"]) == (True, True)
    assert (groups["enable.idempotence"], groups["enable.gapless.guarantee"]) == (False, False)
    assert (groups["acks"], groups["message.timeout.ms"]) == ("all", 0)
    # nothing goes before all of it is handed over, whatever the user says
    assert groups["linger.ms"] == groups["queue.buffering.max.ms"] == 60_000


def test_of_a_group_that_goes_one_by_one_each_record_is_a_batch(monkeypatch):
    properties = []
    monkeypatch.setattr(delivery, "new_client", lambda given, *_: properties.append(given))
    made(in_groups=True, one_by_one=True, **{"batch.num.messages": 500})
    assert properties[0]["batch.num.messages"] == 1


@pytest.mark.parametrize(
    ("given", "bound", "size"),
    [({}, None, 500_000), ({"message.max.bytes": 9_000}, None, 4_500), ({}, 1_500, 750)],
)
def test_a_group_is_half_as_large_as_a_batch_can_be(given, bound, size):
    assert largest_group(KafkaSettings(client=given), bound) == size


@pytest.mark.parametrize(
    ("given", "bound", "size"),
    [({}, 1500, 1500), ({"batch.size": 900}, 1500, 900), ({"batch.size": 90_000}, 1500, 1500)],
)
def test_no_batch_is_larger_than_a_topic_accepts(monkeypatch, given, bound, size):
    properties = []
    monkeypatch.setattr(delivery, "new_client", lambda given, *_: properties.append(given))
    made(batch_bytes=bound, **given)
    assert properties[0]["batch.size"] == size


@pytest.mark.parametrize("given", [{}, {"topic.metadata.propagation.max.ms": 700}])
def test_that_a_topic_is_missing_is_known_before_a_silent_client_is_replaced(monkeypatch, given):
    properties = []
    monkeypatch.setattr(delivery, "new_client", lambda given, *_: properties.append(given))
    with capture_logs() as logs:
        made(**given)
    expected = given.get("topic.metadata.propagation.max.ms", delivery.PROPAGATION_MS)
    assert properties[0]["topic.metadata.propagation.max.ms"] == expected
    assert delivery.PROPAGATION_MS < TAKE_BACK_SECONDS * 1000
    assert logs == []
