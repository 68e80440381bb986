"""A program: describes the group that is named on its standard input, as JSON, and ends.

Its process is what librdkafka may end instead of the service (`connector.kafka.group_members`). It
imports little, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient


def described(properties: dict[str, Any], group: str, seconds: float) -> dict[str, Any]:
    """Return whether the group is `settled` and its `members`, or the `refusal` of the brokers.

    Each member is a list of its id, client.id, host, and partitions as pairs of topic and number.
    """
    client = AdminClient(properties)  # kept while it asks: its questions end with it
    try:
        asked = client.describe_consumer_groups([group], request_timeout=seconds)
        found = asked[group].result(seconds + 1)
    except (KafkaException, TimeoutError) as error:
        told = error.args[0] if isinstance(error, KafkaException) else None
        refusal = f"no broker answered within {seconds:g} s" if told is None else told.str()
        return {"refusal": refusal}
    settled = found.state in (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY)
    return {
        "settled": settled,
        "members": [
            [one.member_id, one.client_id, one.host, _partitions(one)] for one in found.members
        ],
    }


def _partitions(member: Any) -> list[tuple[str, int]]:
    """What a member has; one that has joined and waits for its part has none."""
    if member.assignment is None:
        return []
    return [(place.topic, place.partition) for place in member.assignment.topic_partitions]


if __name__ == "__main__":
    json.dump(described(**json.load(sys.stdin)), sys.stdout)
