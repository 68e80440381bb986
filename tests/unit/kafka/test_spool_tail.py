import pytest

from connector.kafka.spool_tail import Tail


def test_the_oldest_go_until_the_others_have_room():
    tail = Tail()
    assert (len(tail), list(tail), tail.size_bytes, tail.cut(0)) == (0, [], 0, [])
    for number in range(10):
        tail.append(b"%d" % number)
    tenth = tail.size_bytes // 10
    assert tail.popleft() == b"0"
    assert tail.cut(3 * tenth) == [b"%d" % number for number in range(1, 7)]
    assert (list(tail), tail.size_bytes) == ([b"7", b"8", b"9"], 3 * tenth)
    assert tail.cut(0) == [b"7", b"8", b"9"]
    assert (len(tail), tail.size_bytes) == (0, 0)
    with pytest.raises(IndexError):
        tail.popleft()
