"""However short a reply Kafka takes: a command has one, and what it says is so."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.control.reply import Reply
from connector.errors import RecordRefusedError
from tests.unit.control.test_leader import B, C, FakeLog, lead

INSTRUMENTS = st.lists(
    st.sampled_from(["NSE:A", B, C, *(f"NSE:X{n}" for n in range(30))]), min_size=1, max_size=40
)
COMMANDS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("subscribe"), "instruments": INSTRUMENTS, "dry_run": st.booleans()}
        ),
        st.fixed_dictionaries({"type": st.just("unsubscribe"), "instruments": INSTRUMENTS}),
        st.just({"type": "status"}),
        st.just({"type": "pause", "slot": 1, "by": "x" * 60}),
        st.just({"type": "subscribe", "instruments": ["NSE:A"], "expected_revision": 99}),
    ),
    min_size=1,
    max_size=6,
)
BARE = len('{"id":"0","status":"REJECTED","revision":0,"dry_run":true}')


@given(COMMANDS, st.integers(BARE, 600))
def test_each_command_has_one_reply_that_fits_and_says_what_was_done(commands, most_bytes):
    log = FakeLog()
    for number, command in enumerate(commands):
        log.command(id=str(number), **command)
    write = log.write

    def limited(step):
        if any(len(value) > most_bytes for _, value in step.replies):
            raise RecordRefusedError("kite.control.replies: Broker: Message size too large")
        write(step)

    log.write = limited
    leader = lead(log)
    assert [key for key, _ in log.replies] == [str(number) for number in range(len(commands))]
    assert log.applied_offset() == len(commands)
    assert (log.opened, leader.error) == (1, None)
    # what is left of a reply is one yet, for whoever waits for it
    replies = [Reply.model_validate_json(json.dumps(reply)) for _, reply in log.replies]
    expected = FakeLog()
    for number, (command, reply) in enumerate(zip(commands, replies, strict=True)):
        assert reply.dry_run == command.get("dry_run", False)
        if reply.status == "APPLIED":
            expected.command(id=str(number), **command)
    lead(expected)
    assert log.subscriptions().keys() == expected.subscriptions().keys()
