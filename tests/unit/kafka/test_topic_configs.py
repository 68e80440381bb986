"""Configurations of topics that somebody has changed, and what is said of them."""

import re

import pytest

from connector.kafka.topic_configs import (
    blocked,
    config_differences,
    config_faults,
    config_losses,
)
from connector.kafka.topics import TopicSpec, topic_specs
from connector.settings.topics import TopicSettings


def specs(**settings):
    return {spec.name: spec for spec in topic_specs(TopicSettings(**settings), slots=3)}


def test_differences_are_named():
    spec = TopicSpec("t", 1, {"retention.ms": "5", "cleanup.policy": "delete"})
    assert config_differences(spec, {"retention.ms": "6", "cleanup.policy": "delete"}) == [
        "t: retention.ms is 6, the settings say 5"
    ]
    # what the broker does not tell is not known to differ
    assert config_differences(spec, {}) == []


@pytest.mark.parametrize("topic", ["kite.subscriptions", "kite.instruments"])
@pytest.mark.parametrize("policy", ["delete", "compact,delete", "delete, compact", ""])
def test_state_in_a_topic_that_forgets_is_refused_with_the_command_that_helps(topic, policy):
    (fault,) = config_faults(specs()[topic], {"cleanup.policy": policy})
    assert "and must be compact: " in fault
    command = f"--entity-name {topic} --add-config cleanup.policy=compact"
    assert fault.endswith(command)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_commands_in_a_topic_that_keeps_the_last_of_each_key_are_refused(policy):
    (fault,) = config_faults(specs()["kite.control"], {"cleanup.policy": policy})
    assert re.search(r"and must be delete: commands .* would be lost", fault)


def test_the_policy_of_records_that_are_no_state_is_the_users():
    ticks = specs()["kite.ticks.nse"]
    there = {"cleanup.policy": "compact,delete"}
    assert config_faults(ticks, there) == []
    assert config_differences(ticks, there) == [
        "kite.ticks.nse: cleanup.policy is compact,delete, the settings say delete"
    ]


COMMANDS = {"compression.type": "uncompressed", "max.message.bytes": "1048588"}


def test_commands_are_bounded_in_what_they_unpack_to():
    spec = specs()["kite.control"]
    assert {name: spec.config[name] for name in COMMANDS} == COMMANDS
    assert config_differences(spec, COMMANDS) == config_faults(spec, COMMANDS) == []
    assert config_differences(spec, {**COMMANDS, "max.message.bytes": "500000"}) == [
        "kite.control: max.message.bytes is 500000, the settings say 1048588"
    ]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("compression.type", "producer", "uncompressed"),
        ("compression.type", "zstd", "uncompressed"),
        ("max.message.bytes", "10485880", "1048588"),
    ],
)
def test_commands_without_a_bound_are_refused_with_the_command_that_helps(name, value, wanted):
    spec = specs()["kite.control"]
    (fault,) = config_faults(spec, {**COMMANDS, name: value})
    assert f"{name} is {value} and must be " in fault
    assert fault.endswith(
        "kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics "
        f"--entity-name kite.control --add-config {name}={wanted}"
    )


@pytest.mark.parametrize(
    ("topic", "name", "value", "said"),
    [
        ("kite.events", "retention.ms", "1000", "deleted before their time"),
        ("kite.ticks.nse", "message.timestamp.type", "LogAppendTime", "the time of the broker"),
        ("kite.control.replies", "message.timestamp.type", "CreateTime", "an hour ahead of the"),
        ("kite.orders", "cleanup.policy", "compact,delete", "the key of a later one are deleted"),
    ],
)
def test_what_breaks_a_promise_to_readers_is_named_with_the_command_that_helps(
    topic, name, value, said
):
    spec = specs()[topic]
    assert config_losses(spec, spec.config) == config_faults(spec, spec.config) == []
    (loss,) = config_losses(spec, {**spec.config, name: value})
    assert loss.startswith(f"{name} is {value} and must be ")
    assert said in loss
    assert loss.endswith(f"--entity-name {topic} --add-config {name}={spec.config[name]}")
    assert config_faults(spec, {**spec.config, name: value}) == []


@pytest.mark.parametrize("kept", ["-1", "604800001"])
def test_records_may_be_kept_for_longer_than_the_settings_say(kept):
    spec = TopicSpec("t", 1, {"retention.ms": "604800000"})
    assert config_losses(spec, {"retention.ms": kept}) == []
    assert len(config_differences(spec, {"retention.ms": kept})) == 1


@pytest.mark.parametrize(("in_sync", "replicas"), [(None, 1), ("1", 1), ("2", 3), ("2", 0)])
def test_a_topic_with_replicas_enough_takes_records(in_sync, replicas):
    assert blocked("t", {"min.insync.replicas": in_sync}, replicas) is None


def test_a_topic_that_wants_more_replicas_in_sync_than_it_has_takes_none():
    said = blocked("t", {"min.insync.replicas": "2"}, 1)
    assert said.startswith("min.insync.replicas is 2 and it has 1 replica: nothing can be written")
    assert said.endswith("--entity-name t --add-config min.insync.replicas=1")
