"""What Kafka refuses, forgets or replaces: the leader goes on, and says so until it does."""

from concurrent.futures import Future

import pytest

from connector.control.leader import HANGS_SECONDS, Leader
from connector.control.records import LeaderProgress
from connector.control.state import Layout
from connector.errors import (
    BrokerUnreachableError,
    ProducerExpiredError,
    RecordRefusedError,
    TransactionAbortedError,
)
from connector.kite.web.instruments import InstrumentMaster
from connector.testing import FakeClock
from tests.support.masters import FakeMaster
from tests.unit.control.test_leader import NOW_MS, A, B, C, FakeLog, done, lead


@pytest.fixture
def log():
    return FakeLog()


def refuse(log, holds):
    """Let the log refuse each transaction for which `holds(step)`."""
    write = log.write

    def refusing(step):
        if holds(step):
            raise RecordRefusedError("kite.control.replies: Broker: Message size too large")
        write(step)

    log.write = refusing


def longest(step):
    return max([0, *(len(value) for _, value in step.replies)])


def test_what_can_never_be_written_is_answered_and_its_neighbours_are_applied(log):
    log.command(id="1", type="subscribe", instruments=["NSE:A"])
    unknown = [f"NSE:X{n}" for n in range(20)]
    log.command(id="2", type="subscribe", instruments=["NSE:B", *unknown])
    log.command(id="3", type="subscribe", instruments=[C])
    refuse(log, lambda step: longest(step) > 500)
    leader = lead(log)
    assert [(key, reply["status"]) for key, reply in log.replies] == [
        ("1", "APPLIED"),
        ("2", "APPLIED"),
        ("3", "APPLIED"),
    ]
    cut = log.replies[1][1]
    assert (cut["accepted"], cut["errors"]) == (
        1,
        ["the rest is left out: Kafka refuses a longer reply"],
    )
    assert log.subscriptions().keys() == {A, B, C}
    assert (log.opened, leader.error) == (1, None)
    assert leader.refused == 2  # the three together, and the one alone


def test_an_answer_that_is_all_that_was_asked_for_is_refused_and_not_cut(log):
    log.command(id="2", type="status")
    refuse(log, lambda step: longest(step) > 300)
    lead(log)
    ((_, reply),) = log.replies
    assert reply["status"] == "REJECTED"
    assert "Kafka refuses what it leads to: kite.control.replies" in reply["errors"][0]


def test_what_cannot_even_be_answered_is_passed(log):
    log.message(b"x")
    log.command(id="2", type="subscribe", instruments=[B])
    log.command(id="3", type="subscribe", instruments=[C])
    refuse(log, lambda step: step.dead_letters or any(key == "2" for key, _ in step.replies))
    leader = lead(log)
    assert [key for key, _ in log.replies] == ["3"]
    assert log.subscriptions().keys() == {C}
    assert (log.applied_offset(), log.opened, leader.error) == (3, 1, None)


def test_a_dead_letter_that_is_refused_is_written_without_its_bytes(log):
    log.message(b"x" * 500)
    refuse(log, lambda step: any(letter.value for letter in step.dead_letters))
    lead(log)
    (letter,) = log.dead_letters
    assert (letter.value, letter.length) == (b"", 500)
    assert "Message size too large" in letter.errors[-1]


def test_an_error_ends_only_when_commands_are_applied_again(log):
    log.command(id="1", type="subscribe", instruments=[A])
    log.failures = [BrokerUnreachableError("k:9092", "not authorized")] * 3
    seen = []

    def look(leader):
        follow = log.follow

        def after_taking_over(offset):
            follow(offset)
            seen.append((leader.error is None, leader.serving))

        log.follow = after_taking_over

    leader = lead(log, watch=look)
    assert seen == [(True, False), (False, False), (False, False), (False, False)]
    assert (leader.error, leader.serving) == (None, True)


def test_with_nothing_to_apply_it_serves_at_the_end_of_the_topic(log):
    served = []
    leader = lead(log, watch=lambda leader: served.append(leader.serving))
    assert (served, leader.serving) == ([False], True)


def test_a_producer_that_the_broker_forgot_is_replaced_at_once(log):
    log.command(id="1", type="subscribe", instruments=[A])
    log.failures = [ProducerExpiredError("producer id mapping")]
    errors = []

    def look(leader):
        opened = log.open

        def again():
            errors.append(leader.error)
            opened()

        log.open = again

    leader = lead(log, watch=look)
    assert (log.opened, errors, leader.fenced, leader.aborted) == (2, [None, None], 0, 0)
    assert [key for key, _ in log.replies] == ["1"]


def test_of_another_control_topic_no_offset_counts(log):
    log.id = "first"
    for n in range(3):
        log.command(id=f"a{n}", type="subscribe", instruments=[A])
    lead(log)
    log.id = "second"
    log.messages.clear()
    for n, token in enumerate((B, C)):
        log.command(id=f"b{n}", type="subscribe", instruments=[token])
    lead(log)
    assert [key for key, _ in log.replies] == ["a0", "a1", "a2", "b0", "b1"]
    assert log.subscriptions().keys() == {A, B, C}
    assert LeaderProgress.decode(log.steps[-1].records[-1].value).topic_id == "second"
    lead(log)
    assert len(log.replies) == 5


def test_a_control_topic_that_is_made_anew_under_a_leader_is_applied_from_its_beginning(log):
    log.id = "first"
    for n in range(3):
        log.command(id=f"a{n}", type="subscribe", instruments=[A])
    leaders = []

    def until():
        if log.id == "second":
            leaders[0].stop()
            return
        log.id = "second"
        log.messages.clear()
        for n in range(5):
            log.command(id=f"b{n}", type="subscribe", instruments=[B])

    lead(log, watch=leaders.append, until=until)
    assert [key for key, _ in log.replies] == ["a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"]
    assert log.opened == 2


@pytest.mark.parametrize(("before", "after"), [(None, "first"), ("first", None), (None, None)])
def test_where_no_id_is_known_the_offset_counts(log, before, after):
    log.id = before
    log.command(id="1", type="subscribe", instruments=[A])
    lead(log)
    log.id = after
    log.command(id="2", type="subscribe", instruments=[B])
    lead(log)
    assert [key for key, _ in log.replies] == ["1", "2"]


def test_other_commands_do_not_wait_for_the_list_and_one_load_answers_all_that_do(log):
    loads = []

    def refresh(_accept_list):
        loads.append(Future())
        return loads[-1]

    master = FakeMaster({"NSE:A": A})
    log.command(id="r1", type="refresh-instruments")
    log.command(id="1", type="subscribe", instruments=["NSE:A"])
    log.command(id="r2", type="refresh-instruments")
    log.command(id="r2", type="refresh-instruments")
    log.command(id="r2", type="delete", watchlist="default")
    log.command(id="2", type="subscribe", instruments=[C])
    replied_before = []

    def idle():
        if not loads[0].done():
            replied_before.extend(key for key, _ in log.replies)
            master.tokens["NSE:A"] = B
            loads[0].set_result(None)
        elif len(log.replies) == 5:
            leader.stop()

    leader = leader_of(log, master, refresh)
    log.idle = idle
    leader.run()
    assert replied_before == ["1", "r2", "2"]
    assert log.replies[1][1]["errors"][0].startswith("id: another command had this id")
    assert [(key, reply["status"]) for key, reply in log.replies[3:]] == [
        ("r1", "APPLIED"),
        ("r2", "APPLIED"),
    ]
    assert len(loads) == 1
    assert log.subscriptions().keys() == {B, C}


def leader_of(log, master, refresh):
    return Leader(
        lambda: log,
        Layout((0, 1, 2), 2),
        lambda: master,
        wanted={},
        max_bytes=1_000_000,
        clock=FakeClock(NOW_MS * 1000),
        refresh=refresh,
        back_off_seconds=0,
    )


def test_a_command_that_waits_is_answered_by_the_next_leader(log):
    log.command(id="r", type="refresh-instruments")
    lead(log, refresh=lambda _: Future())
    assert log.replies == []
    lead(log, refresh=lambda _: done())
    assert [(key, reply["status"]) for key, reply in log.replies] == [("r", "APPLIED")]
    lead(log, refresh=lambda _: done())
    assert len(log.replies) == 1
    assert not {key for _, key, value in latest(log) if value and key.startswith("@waiting")}


def latest(log):
    known = {(partition, key): value for partition, key, value in log.stored}
    return [(partition, key, value) for (partition, key), value in known.items()]


def test_a_load_that_nobody_foresaw_to_fail_is_a_rejection(log):
    log.command(id="r", type="refresh-instruments")
    lead(log, refresh=lambda _: done(ZeroDivisionError()))
    ((_, reply),) = log.replies
    assert (reply["status"], reply["errors"]) == (
        "REJECTED",
        ["internal error; the leader's log has it"],
    )


def test_no_more_commands_wait_than_may(log, monkeypatch):
    monkeypatch.setattr("connector.control.reducer.MAX_REFRESHES", 2)
    for n in range(4):
        log.command(id=str(n), type="refresh-instruments")
    lead(log, refresh=lambda _: Future())
    assert [(key, reply["status"]) for key, reply in log.replies] == [
        ("2", "REJECTED"),
        ("3", "REJECTED"),
    ]


def test_ten_thousand_commands_have_one_effect_and_one_reply_each_over_leaders_that_die(log):
    tokens = [n << 8 | 1 for n in range(1, 3001)]
    sent = 10_000
    for n in range(sent):
        if n % 97 == 0:
            log.message(b"\xff poison %d" % n)
        log.command(
            id=str(n),
            type="subscribe" if n % 2 == 0 else "unsubscribe",
            watchlist="w",
            instruments=[tokens[n // 2 % len(tokens)]],
        )
    write, tries = log.write, []

    def aborting(step):
        # aborted before it was written, or written and the leader lost
        if len(tries) % 7 == 3:
            tries.append(step)
            raise TransactionAbortedError("x")
        tries.append(step)
        write(step)
        if len(tries) % 11 == 5:
            raise BrokerUnreachableError("k", "died behind the commit")

    log.write = aborting
    lead(log, layout=Layout((0, 1), 3000), master=InstrumentMaster())
    assert log.opened > 1
    assert sorted(int(key) for key, _ in log.replies) == list(range(sent))
    assert len(log.dead_letters) == len(range(0, sent, 97))
    assert {reply["status"] for _, reply in log.replies} == {"APPLIED"}
    assert [reply["revision"] for _, reply in log.replies] == list(range(1, sent + 1))
    assert log.subscriptions() == {}


def test_a_call_that_does_not_come_back_is_told_until_it_does(log):
    clock, leaders, seen = FakeClock(NOW_MS * 1000), [], []
    write, idle = log.write, []

    def hangs(step):
        for seconds in (HANGS_SECONDS, 1):
            clock.now += seconds
            seen.append((leaders[0].trouble, leaders[0].serves))
        write(step)

    def comes_back():
        seen.append((leaders[0].trouble, leaders[0].serves))
        idle.append(1)
        if len(idle) == 2:
            leaders[0].stop()

    log.write = hangs
    log.command(id="1", type="status")
    lead(log, clock=clock, watch=leaders.append, until=comes_back)
    assert seen[:2] == [
        (None, False), ("a call of the Kafka client has not come back for 121 s", False)
    ]  # fmt: skip
    assert seen[-1] == (None, True)
