import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.frames import KEEP_SECONDS, MAX_NOTE_BYTES, SlotFrames, member_of, note_of
from connector.testing import FakeClock


class Group:
    """A group's committed offsets, as one coordinator keeps them."""

    def __init__(self):
        self.offsets = {}
        self.member = "m-1"

    def memberid(self):
        return self.member

    def commit(self, *, offsets, asynchronous):
        assert asynchronous
        for one in offsets:
            self.offsets[one.topic, one.partition] = (one.offset, one.metadata)

    def committed(self, partitions, timeout):
        assert timeout > 0
        return [
            TopicPartition(
                p.topic, p.partition, *self.offsets.get((p.topic, p.partition), (-1001,))
            )
            for p in partitions
        ]


times = st.dictionaries(st.integers(0, 38), st.integers(1, 2**53), max_size=39)


NOW_US = 1_767_585_600_000_000


def test_a_time_that_is_to_come_is_unknown():
    group = Group()
    for slot, ahead_us in enumerate((0, 59_000_000, 61_000_000, 7_200_000_000)):
        group.offsets["s", slot] = (0, f'{{"last_frame_us": {NOW_US + ahead_us}}}')
    group.offsets["s", 4] = (0, f'{{"last_frame_us": {2**63 - 1}}}')
    left = SlotFrames("s", FakeClock(NOW_US)).read(group, range(5))
    assert left.keys() == {0, 1}


@given(times, times)
def test_the_next_owner_reads_what_the_last_one_left(kept, handed_over):
    group, old = Group(), SlotFrames("s", FakeClock())
    old.keep(group, lambda: kept, range(39))
    old.hand_over(group, handed_over)
    new = SlotFrames("s", FakeClock(2**53))
    left = new.read(group, range(39))
    assert {slot: one.last_frame_us for slot, one in left.items()} == {**kept, **handed_over}
    # whoever was killed still has its slots, as far as this tells
    assert {slot for slot, one in left.items() if one.owned} == kept.keys() - handed_over.keys()
    # what another topic's partitions say is nothing to it
    assert SlotFrames("other", FakeClock()).read(group, range(39)) == {}


def test_what_is_left_says_by_which_instance():
    group = Group()
    SlotFrames("s", FakeClock(), "pod-7").keep(group, lambda: {1: 5}, [1])
    SlotFrames("s", FakeClock()).keep(group, lambda: {2: 6}, [2])
    left = SlotFrames("s", FakeClock()).read(group, [1, 2])
    assert {slot: one.instance for slot, one in left.items()} == {1: "pod-7", 2: None}


def test_what_nests_without_end_is_no_time_either():
    group = Group()
    group.offsets["s", 3] = (0, "[" * 4096)
    assert SlotFrames("s", FakeClock()).read(group, [3]) == {}


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_what_another_program_left_is_no_time(metadata):
    group = Group()
    group.offsets["s", 3] = (0, metadata)
    assert SlotFrames("s", FakeClock()).read(group, [3]) == {}


class Reached:
    """A record of a slot's partition, read."""

    def __init__(self, slot):
        self._slot = slot

    def topic(self):
        return "s"

    def partition(self):
        return self._slot

    def offset(self):
        return 0

    def error(self):
        return None


def test_how_a_slot_is_stands_beside_its_time_and_changes_by_itself():
    group, clock = Group(), FakeClock()
    frames = SlotFrames("s", clock)
    frames.keep(group, lambda: {3: 77}, {3}, {3: {"state": "connected"}})
    assert note_of(group.offsets["s", 3][1]) == (77, {"state": "connected"})
    assert SlotFrames("s", FakeClock()).read(group, [3])[3].last_frame_us == 77
    clock.now += KEEP_SECONDS
    frames.keep(group, lambda: {3: 77}, {3}, {3: {"state": "backing_off"}})
    assert note_of(group.offsets["s", 3][1]) == (77, {"state": "backing_off"})


def test_nothing_is_written_while_neither_time_nor_note_has_changed():
    group, clock = Group(), FakeClock()
    frames = SlotFrames("s", clock)
    for notes in ({}, {3: {"state": "connected"}}):
        for _ in range(2):
            clock.now += KEEP_SECONDS
            group.offsets.clear()
            frames.keep(group, lambda: {3: 77}, {3}, notes)
        assert group.offsets == {}


def test_a_slot_that_never_received_anything_is_told_of_and_has_no_time():
    group = Group()
    frames = SlotFrames("s", FakeClock())
    frames.keep(group, dict, {3}, {3: {"state": "waiting_for_token"}})
    assert group.offsets == {}, "its partition was not read yet"
    frames = SlotFrames("s", FakeClock())
    frames.reached(Reached(3))
    frames.keep(group, dict, {3}, {3: {"state": "waiting_for_token"}})
    assert note_of(group.offsets["s", 3][1]) == (None, {"state": "waiting_for_token"})
    assert SlotFrames("s", FakeClock()).read(group, [3]) == {}


def test_a_note_has_a_bound_and_the_time_none_the_less():
    group = Group()
    SlotFrames("s", FakeClock()).keep(
        group, lambda: {3: 77}, {3}, {3: {"trouble": "x" * MAX_NOTE_BYTES}}
    )
    assert note_of(group.offsets["s", 3][1]) == (77, {})


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_what_another_program_left_is_no_note(metadata):
    assert note_of(metadata)[0] is None


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ('{"owner":"a","leads":true,"state":"x","desired":3,"confirmed":2,"rate":9,"trouble":""}',
         {"owner": "a", "leads": True, "state": "x", "desired": 3, "confirmed": 2, "rate": 9,
          "trouble": ""}),
        ('{"rate":NaN,"confirmed":1e999,"desired":"many","state":"connected"}',
         {"state": "connected"}),
        ('{"owner":{"a":[]},"trouble":5,"leads":"yes","more":1,"rate":-1,"desired":true}', {}),
        ('{"rate":9,"heard_us":4}', {"rate": 9}),
        ('{"heard_us":"now"}', {}),
        ("[1]", {}),
        ("null", {}),
    ],
)  # fmt: skip
def test_a_note_holds_what_it_is_to_hold_whoever_wrote_it(note, told):
    assert note_of(f'{{"last_frame_us":5,"note":{note}}}') == (5, told)


def test_a_socket_that_sends_heartbeats_alone_is_no_older_than_the_last_of_them():
    """Its gap begins with the last tick; the page of another replica shows that it lives."""
    group = Group()
    frames = SlotFrames("s", FakeClock())
    frames.keep(group, lambda: {3: 77}, {3}, {3: {"state": "connected", "heard_us": 99}})
    metadata = group.offsets["s", 3][1]
    assert note_of(metadata) == (99, {"state": "connected"})
    assert SlotFrames("s", FakeClock()).read(group, [3])[3].last_frame_us == 77


def test_a_note_takes_not_the_place_of_a_time_that_could_not_be_read():
    class Silent(Group):
        def committed(self, partitions, timeout):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    group, clock = Silent(), FakeClock()
    SlotFrames("s", clock).keep(group, lambda: {1: 5}, [1])
    new = SlotFrames("s", clock)
    assert new.read(group, [1]) == {}
    new.reached(Reached(1))
    new.keep(group, dict, [1], {1: {"state": "connecting"}})
    (before,) = Group.committed(group, [TopicPartition("s", 1)], 1)
    assert note_of(before.metadata) == (5, {})
    clock.now += KEEP_SECONDS
    new.keep(group, lambda: {1: 9}, [1], {1: {"state": "connected"}})
    (kept,) = Group.committed(group, [TopicPartition("s", 1)], 1)
    assert note_of(kept.metadata) == (9, {"state": "connected"})


def test_each_slot_is_signed_by_the_member_that_owns_it():
    group, clock = Group(), FakeClock()
    frames = SlotFrames("s", clock)
    frames.reached(Reached(1))
    frames.keep(group, lambda: {0: 5}, {0, 1})
    assert [member_of(metadata) for _, metadata in group.offsets.values()] == ["m-1", "m-1"]
    # another member of the same process, and one that gets its slot back
    for change in (lambda: setattr(group, "member", "m-2"), lambda: frames.read(group, [0, 1])):
        change()
        group.offsets.clear()
        clock.now += KEEP_SECONDS
        frames.keep(group, lambda: {0: 5}, {0, 1})
        assert [member_of(metadata) for _, metadata in group.offsets.values()] == ["m-2", "m-2"]


def test_what_could_not_be_read_is_read_again_so_that_a_quiet_slot_is_signed():
    class Late(Group):
        answers = False

        def committed(self, partitions, timeout):
            if not self.answers:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            return super().committed(partitions, timeout)

    group, clock = Late(), FakeClock()
    group.offsets["s", 1] = (0, '{"last_frame_us": 5}')
    frames = SlotFrames("s", clock)
    assert frames.read(group, [1]) == {}
    frames.reached(Reached(1))
    for group.answers in (False, True):
        clock.now += KEEP_SECONDS
        frames.keep(group, dict, {1})
    _, metadata = group.offsets["s", 1]
    assert (note_of(metadata)[0], member_of(metadata)) == (5, "m-1")


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_what_another_program_left_names_no_member(metadata):
    assert member_of(metadata) is None


def test_a_slot_that_another_member_has_signed_is_told_of():
    group, clock = Group(), FakeClock()
    frames = SlotFrames("s", clock)
    group.offsets["s", 2] = (0, '{"member": "m-0"}')
    frames.keep(group, lambda: {0: 5, 1: 5}, {0, 1})
    group.member = "m-1 again"
    assert frames.signed_by_others(group, {0, 1, 2}) == set()
    SlotFrames("s", clock).keep(group, lambda: {1: 6}, {1})
    # its owner before this member was another one too, and this one has never signed it
    assert frames.signed_by_others(group, {0, 1, 2}) == set(), "once a second"
    clock.now += KEEP_SECONDS
    assert frames.signed_by_others(group, {0, 1, 2}) == {1}
