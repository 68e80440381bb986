import json

from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from connector.kafka.broker_health import BrokerHealth


class Log:
    def __init__(self):
        self.lines = []

    def info(self, text, **more):
        self.lines.append(text)

    warning = info


def broker(state="UP", nodeid=1):
    return {"state": state, "nodeid": nodeid}


def statistics(*brokers):
    return json.dumps({"brokers": {str(n): b for n, b in enumerate(brokers)}})


def test_reachable_by_statistics_and_away_by_error():
    log = Log()
    health = BrokerHealth(log)
    assert not health.reachable
    health.statistics(statistics(broker("DOWN", -1)))
    assert log.lines == []  # only the bootstrap address: nothing is known
    health.statistics(statistics(broker(), broker("DOWN", 2)))
    assert health.reachable
    health.error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert not health.reachable
    assert "brokers are down" in health.last_error
    health.statistics(statistics(broker()))
    assert health.reachable
    assert health.last_error is None
    assert log.lines == ["kafka_reachable", "kafka_unreachable", "kafka_reachable"]


def test_all_down_by_statistics():
    health = BrokerHealth(Log())
    health.statistics(statistics(broker()))
    health.statistics(statistics(broker("CONNECT")))
    assert not health.reachable


def test_an_edge_is_said_once():
    log = Log()
    health = BrokerHealth(log)
    for _ in range(3):
        health.error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        health.error(KafkaError(KafkaError._TRANSPORT))
    assert log.lines == ["kafka_unreachable"]


def test_wrong_credentials_are_said():
    log = Log()
    health = BrokerHealth(log)
    health.error(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error"))
    assert log.lines == ["kafka_client_error"]
    assert health.last_error == "SASL authentication error"


def test_a_reason_is_said_once_until_brokers_are_back():
    log = Log()
    health = BrokerHealth(log)
    for broker_id in (1, 2, 1):
        for duration in (310, 320):
            text = (
                f"k{broker_id}:1/{broker_id}: SASL authentication error: no (after {duration}ms in"
            )
            health.error(KafkaError(KafkaError._AUTHENTICATION, f"{text} state AUTH_REQ)"))
            health.error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"))
    complains, away = "kafka_client_error", "kafka_unreachable"
    assert log.lines == [complains, away, complains]
    # not how many are down, but why, and what to do
    assert health.last_error.startswith("k1:1: it refuses the login: no: check kafka.sasl_user")
    health.statistics(statistics(broker()))
    health.error(KafkaError(KafkaError._AUTHENTICATION, f"{text} state AUTH_REQ)"))
    assert log.lines[3:] == ["kafka_reachable", complains]


def test_nothing_is_logged_elsewhere():
    with capture_logs() as lines:
        BrokerHealth(Log()).error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert lines == []


def test_one_broker_that_refuses_beside_another_is_told_once():
    log = Log()
    health = BrokerHealth(log)
    for _ in range(3):
        health.statistics(statistics(broker(), broker("DOWN", 2)))
        health.error(KafkaError(KafkaError._AUTHENTICATION, "no such user"))
    assert log.lines == ["kafka_reachable", "kafka_client_error"]
