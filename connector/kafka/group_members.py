"""Who the members of a consumer group are, and which partitions each has been given.

Not by an admin client's `describe_consumer_groups`, not in this process: librdkafka can end the
process while an admin client's request to a group's coordinator is under way (its issue 4605, open
in 2.16). The older `list_groups` asks every broker instead and is not concerned. It knows nothing
of groups of the protocol `consumer`, and nothing while one broker of several is away; then a short
process of its own asks (`connector.kafka.describe_group`), which harms nobody but itself.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError as Code
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.errors import KafkaError

START_SECONDS: Final = 3.0
"""A process of its own gets so much longer than the brokers: it has to start on a busy machine."""
_PROGRAM: Final = (sys.executable, "-m", "connector.kafka.describe_group")
_SETTLED: Final = ("Stable", "Empty")
_UNTOLD: Final = "Dead"
"""What brokers say of a group whose protocol the request does not know."""


class Member(NamedTuple):
    """A member of a group."""

    member_id: str
    client_id: str
    host: str
    partitions: tuple[tuple[str, int], ...] = ()
    """Topic and partition of each that the group has given it."""

    @property
    def name(self) -> str:
        """Its client.id and address, by which people know it."""
        return f"{self.client_id} {self.host}".strip()


class Group(NamedTuple):
    """A group at one moment."""

    settled: bool
    """Whether everything has been shared out, among members or among none."""
    members: tuple[Member, ...]


def read_group(
    properties: Mapping[str, Any],
    group: str,
    seconds: float,
    *,
    logger: Any = None,
    program: Sequence[str] = _PROGRAM,
) -> Group:
    """Ask who is in a group; blocks for at most twice these seconds and `START_SECONDS`.

    Args:
        properties: librdkafka's, of an admin client; secrets in clear.
        group: its name.
        seconds: the brokers get so long for an answer.
        logger: takes librdkafka's log lines.
        program: what is run to ask in a process of its own.

    Raises:
        KafkaError: the brokers refuse it, do not answer, or cannot tell, as the embedded one.
    """
    try:
        client = AdminClient(dict(properties), **({} if logger is None else {"logger": logger}))
        found: list[Any] = client.list_groups(group, timeout=seconds)
    except KafkaException as error:
        if error.args[0].code() == Code._UNSUPPORTED_FEATURE:  # noqa: SLF001 - its public name
            raise KafkaError(error.args[0].str()) from error
        found = []
    for one in found:
        if one.id == group and one.error is None and one.state != _UNTOLD:
            return Group(one.state in _SETTLED, tuple(map(_member, one.members)))
    return _described(properties, group, seconds, program)


def _member(told: Any) -> Member:
    partitions = assigned_partitions(told.assignment or b"")
    return Member(told.id, told.client_id, told.client_host, partitions)


def assigned_partitions(assignment: bytes) -> tuple[tuple[str, int], ...]:
    """Read a member's assignment as consumers write it; what is none is no partition.

    Source: Kafka's ConsumerProtocolAssignment.json: a version (int16), an array of topics, each
    with its name (int16 of length before it) and an array of partitions (int32 each), all big
    endian, arrays with an int32 of length before them.
    """
    found: list[tuple[str, int]] = []
    try:
        (topics,) = struct.unpack_from(">xxi", assignment)
        at = struct.calcsize(">xxi")
        for _ in range(topics):
            (length,) = struct.unpack_from(">h", assignment, at)
            topic, count = struct.unpack_from(f">xx{length}si", assignment, at)
            at += struct.calcsize(f">xx{length}si")
            partitions = struct.unpack_from(f">{count}i", assignment, at)
            at += struct.calcsize(f">{count}i")
            found += [(topic.decode(), partition) for partition in partitions]
    except (struct.error, UnicodeDecodeError):
        return ()
    return tuple(found)


def _described(
    properties: Mapping[str, Any], group: str, seconds: float, program: Sequence[str]
) -> Group:
    """Ask in a process of its own."""
    question = json.dumps({"properties": properties, "group": group, "seconds": seconds})
    try:
        # the secrets among the properties go through a pipe: nobody else can read it
        ended = subprocess.run(  # noqa: S603 - our own program
            program,
            input=question,
            capture_output=True,
            text=True,
            timeout=seconds + START_SECONDS,
            check=True,
        )
        answer = json.loads(ended.stdout)
    except subprocess.TimeoutExpired as error:
        raise KafkaError(f"no broker answered within {seconds:g} s") from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise KafkaError(f"the group {group} was not described: {error}") from error
    if "refusal" in answer:
        raise KafkaError(answer["refusal"])
    members = (
        Member(member_id, client_id, host, tuple((topic, number) for topic, number in partitions))
        for member_id, client_id, host, partitions in answer["members"]
    )
    return Group(answer["settled"], tuple(members))
