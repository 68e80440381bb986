"""Who is in a group, as a real broker tells it of both group protocols."""

import time

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from connector.kafka.group_members import read_group

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_are_told_with_what_they_hold(bootstrap_servers, protocol):
    topic, group = f"members-{protocol}", f"group-{protocol}"
    servers = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(20)
    consumer = Consumer(
        {**servers, "group.id": group, "client.id": "one", "group.protocol": protocol}
    )
    consumer.subscribe([topic])
    try:
        end = time.monotonic() + 60
        while len(consumer.assignment()) < 3 and time.monotonic() < end:
            consumer.poll(0.1)
        found = read_group(servers, group, 10)
    finally:
        consumer.close()
    assert found.settled
    (member,) = found.members
    assert (member.client_id, member.host[0]) == ("one", "/")
    assert sorted(member.partitions) == [(topic, partition) for partition in range(3)]
    assert member.member_id


def test_a_group_that_nobody_has_made_has_no_members(bootstrap_servers):
    servers = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
    assert read_group(servers, "nobody", 10).members == ()
