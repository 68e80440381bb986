from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.frames import SlotFrames
from connector.testing import FakeClock


class Group:
    """A group's committed offsets, as one coordinator keeps them."""

    def __init__(self):
        self.offsets = {}

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


@given(times, times)
def test_the_next_owner_reads_what_the_last_one_left(kept, handed_over):
    group, old = Group(), SlotFrames("s", FakeClock())
    old.keep(group, lambda: kept, range(39))
    old.hand_over(group, handed_over)
    new = SlotFrames("s", FakeClock())
    left = new.read(group, range(39))
    assert {slot: one.last_frame_us for slot, one in left.items()} == {**kept, **handed_over}
    # whoever was killed still has its slots, as far as this tells
    assert {slot for slot, one in left.items() if one.owned} == kept.keys() - handed_over.keys()
    # what another topic's partitions say is nothing to it
    assert SlotFrames("other", FakeClock()).read(group, range(39)) == {}


def test_what_nests_without_end_is_no_time_either():
    group = Group()
    group.offsets["s", 3] = (0, "[" * 4096)
    assert SlotFrames("s", FakeClock()).read(group, [3]) == {}


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_what_another_program_left_is_no_time(metadata):
    group = Group()
    group.offsets["s", 3] = (0, metadata)
    assert SlotFrames("s", FakeClock()).read(group, [3]) == {}
