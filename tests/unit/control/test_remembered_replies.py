from hypothesis import given
from hypothesis import strategies as st

from connector.control import remembered_replies as replies_module
from connector.control.records import Remembered
from connector.control.remembered_replies import Replies


@given(st.lists(st.integers(0, 30), max_size=40))
def test_the_newest_are_kept_within_both_bounds(sizes):
    bounds = replies_module.REMEMBERED_COMMANDS, replies_module.REMEMBERED_BYTES
    replies_module.REMEMBERED_COMMANDS, replies_module.REMEMBERED_BYTES = 5, 60
    try:
        replies = Replies()
        plain = {}
        for n, size in enumerate(sizes):
            entry = Remembered(n, "0" * 32, b"x" * size)
            before = dict(replies)
            replies, forgotten = replies.remember(str(n), entry)
            assert set(forgotten) == {*before, str(n)} - set(replies)
            plain[str(n)] = entry
            while len(plain) > 5 or sum(len(e.reply) for e in plain.values()) > 60:
                del plain[next(iter(plain))]
            assert list(replies.items()) == list(plain.items())
            assert replies == Replies(dict(reversed(plain.items())))
    finally:
        replies_module.REMEMBERED_COMMANDS, replies_module.REMEMBERED_BYTES = bounds
