"""Whether a topic's configuration keeps what the connector promises of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from connector.kafka.topics import TopicSpec

_UNLIMITED: Final = -1


def config_faults(spec: TopicSpec, there: Mapping[str, str | None]) -> list[str]:
    """Why a topic would lose what the connector keeps there, or admit what has no bound.

    No connector starts with one, and while it runs it is not ready. Each with the command that
    helps.
    """
    faults = []
    policy = there.get("cleanup.policy")
    if spec.cleanup_is == "exact" and policy is not None:
        wanted = spec.config["cleanup.policy"]
        policies = {one.strip() for one in policy.split(",")}
        if policies != {wanted}:
            faults.append(_cleanup_fault(spec, policies, wanted))
    if spec.bounded and (fault := _unbounded(spec, there)) is not None:
        faults.append(fault)
    return faults


def blocked(name: str, there: Mapping[str, str | None], replicas: int) -> str | None:
    """Why nothing can be written to a topic, with the command that helps; None where it can."""
    in_sync = there.get("min.insync.replicas")
    if in_sync is None or not 0 < replicas < int(in_sync):
        return None
    return (
        f"min.insync.replicas is {in_sync} and it has {replicas} "
        f"replica{'s' if replicas != 1 else ''}: nothing can be written to it. "
        f"Set it with {alter(name, 'min.insync.replicas', str(replicas))}"
    )


def config_losses(spec: TopicSpec, there: Mapping[str, str | None]) -> list[str]:
    """What of a topic's configuration breaks a promise to its readers, a line for each property.

    It is streamed all the same: records are deleted before their time or as it is not said, or
    have another time than the one at which they were received.
    """
    return [
        f"{name} is {value} and must be {spec.config[name]}: {loss}. "
        f"Set it with {alter(spec.name, name, spec.config[name])}"
        for name, value, loss in _losses(spec, there)
    ]


def config_differences(spec: TopicSpec, there: Mapping[str, str | None]) -> list[str]:
    """How the configuration of a topic differs from its spec, a line for each property."""
    return [
        f"{spec.name}: {name} is {there[name]}, the settings say {wanted}"
        for name, wanted in spec.config.items()
        if name in there and there[name] != wanted
    ]


def _losses(spec: TopicSpec, there: Mapping[str, str | None]) -> list[tuple[str, str, str]]:
    found = []
    name, policy = "cleanup.policy", there.get("cleanup.policy")
    wanted = {one.strip() for one in spec.config.get(name, "").split(",")}
    if (
        spec.cleanup_is != "exact"
        and policy is not None
        and "compact" in policy
        and "compact" not in wanted
    ):
        found.append((name, policy, "records with the key of a later one are deleted"))
    name, kept = "retention.ms", there.get("retention.ms")
    if kept is not None and name in spec.config and _shorter(int(kept), int(spec.config[name])):
        found.append((name, kept, "records are deleted before their time"))
    name, kind = "message.timestamp.type", there.get("message.timestamp.type")
    if kind is not None and kind != spec.config.get(name, kind):
        loss = "records have the time of the broker as their timestamp"
        if kind == "CreateTime":
            loss = (
                "nothing is written there by a machine whose clock is an hour ahead of the brokers'"
            )
        found.append((name, kind, loss))
    return found


def _shorter(kept_ms: int, wanted_ms: int) -> bool:
    return kept_ms != _UNLIMITED and (wanted_ms == _UNLIMITED or kept_ms < wanted_ms)


def _unbounded(spec: TopicSpec, there: Mapping[str, str | None]) -> str | None:
    """How a topic admits messages without a bound, and the command that helps; None if it does not.

    A broker counts the bytes of a compressed batch as they come, unless it is to store them
    uncompressed: then what they unpack to is held against `max.message.bytes`.
    """
    compression, longest = there.get("compression.type"), there.get("max.message.bytes")
    most = spec.config["max.message.bytes"]
    if compression not in (None, "uncompressed"):
        name, value = "compression.type", "uncompressed"
        fault = f"is {compression} and must be {value}: the broker would not see how long a "
        fault += "compressed message is once it is unpacked"
    elif longest is not None and int(longest) > int(most):
        name, value = "max.message.bytes", most
        fault = f"is {longest} and must be at most {most}: no command is longer"
    else:
        return None
    return f"{name} {fault}. Set it with {alter(spec.name, name, value)}"


def alter(topic: str, name: str, value: str) -> str:
    """Return the command that sets a property of a topic."""
    shown = f"[{value}]" if "," in value else value
    return (
        "kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics "
        f"--entity-name {topic} --add-config {name}={shown}"
    )


def _cleanup_fault(spec: TopicSpec, policies: set[str], wanted: str) -> str:
    """Say what a wrong cleanup.policy does to the topic, and the command that helps."""
    if wanted == "delete":
        loss = "commands that were not applied yet would be lost to later ones with the same key"
    elif "delete" in policies:
        loss = "the state kept there would be deleted by age"
    else:
        loss = "the state kept there would grow without a bound"
    return (
        f"cleanup.policy is {','.join(sorted(policies))} and must be {wanted}: {loss}. "
        f"Set it with {alter(spec.name, 'cleanup.policy', wanted)}"
    )
