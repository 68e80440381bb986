from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.service.readiness import Phase, Snapshot, not_ready

RUNNING = Snapshot(Phase.RUNNING)
words = st.none() | st.text(min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("snapshot", "reasons"),
    [
        (RUNNING, []),
        (Snapshot(Phase.STARTING), ["starting"]),
        (
            Snapshot(Phase.STARTING, {"Kafka": "refused"}, broker_reachable=False),
            ["waiting for Kafka: refused"],
        ),
        (Snapshot(Phase.STOPPING, slots=["slot 0 is connecting"]), ["stopping"]),
        (Snapshot(Phase.STOPPED), ["stopped"]),
        (replace(RUNNING, broker_reachable=False), ["no Kafka broker is connected"]),
        (
            replace(RUNNING, broker_reachable=False, last_error="TLS", troubles=["kite.orders"]),
            ["no Kafka broker is connected: TLS"],
        ),
        # what one topic is refused for explains that nothing is acknowledged
        (replace(RUNNING, troubles=["kite.orders"], silence="nothing"), ["kite.orders"]),
        (replace(RUNNING, silence="nothing is acknowledged"), ["nothing is acknowledged"]),
        (
            replace(RUNNING, spool_problem="full", list_held_back="half", slots=["slot 0"]),
            ["full", "half", "slot 0"],
        ),
    ],
)
def test_reasons_come_from_what_the_service_waits_for(snapshot, reasons):
    assert not_ready(snapshot) == reasons


@given(
    st.builds(
        Snapshot,
        phase=st.just(Phase.RUNNING),
        broker_reachable=st.booleans(),
        troubles=st.lists(st.text(), max_size=2),
        silence=words,
        spool_problem=words,
        list_held_back=words,
        slots=st.lists(st.text(), max_size=2),
    )
)
def test_a_running_service_is_ready_exactly_where_nothing_is_wrong(snapshot):
    wrong = [
        not snapshot.broker_reachable,
        snapshot.troubles,
        snapshot.silence,
        snapshot.spool_problem,
        snapshot.list_held_back,
        snapshot.slots,
    ]
    assert bool(not_ready(snapshot)) == any(wrong)
