"""Asking the brokers from within a callback of the member's consumer, which must not be called.

So it is asked with a client of its own, that lives for one question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as Code

from connector.kafka.config import ClientLog

PROBE_SECONDS: Final = 2.0
_log = structlog.get_logger("connector.cluster")


def coordinator_answers(properties: Mapping[str, Any], topic: str) -> bool:
    """Whether the group's coordinator can be reached.

    Args:
        properties: of the member's consumer, with a client.id of its own.
        topic: one that the group has offsets of.
    """
    probe = Consumer(dict(properties), logger=ClientLog("probe"))
    try:
        probe.committed([TopicPartition(topic, 0)], timeout=PROBE_SECONDS)
    except KafkaException as error:
        _log.debug("coordinator_probe_failed", reason=error.args[0].str())
        return False
    finally:
        probe.close()
    return True


def topics_gone(properties: Mapping[str, Any], topics: Collection[str]) -> set[str]:
    """Return those of these topics of which a broker says that they do not exist.

    Args:
        properties: of the member's consumer, with a client.id of its own.
        topics: their names; those that no broker answers for are not known to be gone.
    """
    probe = Consumer(dict(properties), logger=ClientLog("probe"))
    gone = set()
    try:
        for topic in topics:
            error = probe.list_topics(topic, timeout=PROBE_SECONDS).topics[topic].error
            if error is not None and error.code() == Code.UNKNOWN_TOPIC_OR_PART:
                gone.add(topic)
    except KafkaException as failure:
        _log.debug("topic_probe_failed", reason=failure.args[0].str())
    finally:
        probe.close()
    return gone
