"""A leader whose topics are deleted under it: it waits for them, and nothing is unsubscribed."""

import pytest
from structlog.testing import capture_logs

from connector.control.leader import LOOK_SECONDS
from connector.control.memory import Memory
from connector.control.records import HALT_KEY, LeaderProgress
from tests.support.clock import SteppedClock
from tests.unit.control.test_leader import NOW_MS, A, B, C, FakeLog, lead

TOPIC = "kite.subscriptions"


@pytest.fixture
def log():
    made = FakeLog()
    made.id, made.subscriptions_id = "control", "first"
    made.command(id="1", type="subscribe", instruments=[A], mode="full")
    made.command(id="2", type="subscribe", instruments=[B], watchlist="other")
    made.command(id="3", type="pause", slot=2)
    return made


def made_anew(log):
    log.stored.clear()
    log.subscriptions_id = "second"


def led_twice(log, between, clock=None, **options):
    """Lead; do something when all was applied, once, and go on until all is applied again."""
    leaders, done = [], []

    def until():
        if not done:
            done.append(True)
            between()
        else:
            leaders[0].stop()

    return lead(
        log,
        until=until,
        watch=leaders.append,
        clock=clock or SteppedClock(NOW_MS / 1000),
        **options,
    )


def test_a_topic_that_is_made_anew_gets_the_whole_state_in_one_transaction(log):
    clock, events, memory = SteppedClock(NOW_MS / 1000), [], Memory()

    def between():
        made_anew(log)
        clock.seconds += LOOK_SECONDS

    with capture_logs() as lines:
        led_twice(log, between, clock, on_event=events.append, memory=memory)
    before, step = log.steps[-2:]
    assert log.subscriptions().keys() == {A, B}
    assert log.subscriptions()[B].claims == {"other": "quote"}
    keys = [(record.partition, record.key) for record in step.records]
    assert {slot for slot, key in keys if key == HALT_KEY} == {0, 1, 2}
    assert keys.count((0, "@reply:1")) == 1
    progress = LeaderProgress.decode(step.records[-1].value)
    assert progress == LeaderProgress.decode(before.records[-1].value)
    assert (memory.state.progress, memory.state.halted.keys()) == (progress, {2})
    assert "subscriptions_restored" in [line["event"] for line in lines]
    assert [(one.type, one.instruments) for one in events[-1:]] == [("subscriptions_restored", 2)]
    assert len(log.replies) == 3


def test_a_command_finds_a_topic_made_anew_before_it_is_applied(log):
    def between():
        made_anew(log)
        log.command(id="4", type="subscribe", instruments=[C])

    led_twice(log, between)
    assert log.subscriptions().keys() == {A, B, C}
    assert [key for key, _ in log.replies] == ["1", "2", "3", "4"]


def test_while_the_topic_is_missing_it_serves_nothing_and_says_which(log):
    clock, said, leaders = SteppedClock(NOW_MS / 1000), [], []

    def between():
        opened = log.open
        log.missing = {TOPIC}
        clock.seconds += LOOK_SECONDS

        def again():
            said.append((leaders[0].trouble, leaders[0].serves, leaders[0].missing))
            log.missing, log.open = (), opened
            made_anew(log)
            opened()

        log.open = again

    def until():
        if said:
            leaders[0].stop()
        elif log.missing == ():
            between()

    leader = lead(log, until=until, watch=leaders.append, clock=clock)
    assert said == [(f"topic {TOPIC}: does not exist any more", False, {TOPIC})]
    assert (leader.trouble, leader.missing) == (None, ())
    assert log.subscriptions().keys() == {A, B}


def test_the_next_leader_of_the_process_remembers_the_state(log):
    memory = Memory()
    lead(log, memory=memory)
    made_anew(log)
    log.command(id="4", type="subscribe", instruments=[C])
    lead(log, memory=memory)
    assert log.subscriptions().keys() == {A, B, C}
    assert memory.state.halted.keys() == {2}


def test_what_another_leader_has_begun_counts_and_not_what_is_remembered(log):
    memory = Memory()
    lead(log, memory=memory)
    made_anew(log)
    log.messages.clear()
    log.command(id="5", type="subscribe", instruments=[C])
    log.id = "another"
    lead(log)
    lead(log, memory=memory)
    assert log.subscriptions().keys() == {C}


def test_without_a_memory_what_control_still_has_is_applied_again(log):
    lead(log)
    made_anew(log)
    lead(log)
    assert log.subscriptions().keys() == {A, B}


@pytest.mark.parametrize(("kept", "told"), [(3, ["subscriptions_lost"]), (0, [])])
def test_a_leader_that_has_no_memory_tells_what_it_finds_forgotten(log, kept, told):
    """Another process led, and the topic was deleted with it; 0: a cluster's first start."""
    log.kept, events = kept, []
    log.messages[0] = log.messages[0]._replace(value=b"older than the topic keeps")
    leader = lead(log, on_event=events.append, memory=Memory())
    assert [one.type for one in events if one.type == "subscriptions_lost"] == told
    assert log.subscriptions().keys() == {B}
    assert leader.trouble is None


def test_what_a_leader_finds_is_not_forgotten(log):
    lead(log)
    log.kept, events = 3, []
    lead(log, on_event=events.append)
    assert "subscriptions_lost" not in [one.type for one in events]
