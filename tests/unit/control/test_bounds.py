import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.control.bounds import (
    ERROR_CHARACTERS,
    MAX_ERRORS,
    MAX_RECORD_BYTES,
    bounded,
    excerpt,
    oversize,
)
from connector.control.records import StateRecord


@given(st.text(st.characters()), st.integers(0, 20))
def test_an_excerpt_is_short_and_fit_for_a_terminal(text, characters):
    cut = excerpt(text, characters)
    assert len(cut) <= characters + 30
    assert cut.isprintable()
    cut.encode()


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Maße", "Maße"),
        ("\x1b[2J", "\ufffd[2J"),
        ("\u202egnp", "\ufffdgnp"),
        ("\ud800", "\ufffd"),
        ("x" * 9, "xxxxx… (9 characters)"),
    ],
)
def test_what_an_excerpt_leaves(text, cut):
    assert excerpt(text, 5) == cut


@given(st.lists(st.text(max_size=400), max_size=60))
def test_errors_are_counted_where_they_are_not_listed(errors):
    lines = bounded(tuple(errors))
    assert len(lines) == min(len(errors), MAX_ERRORS + 1)
    assert all(len(line) <= ERROR_CHARACTERS + 30 for line in lines)
    if len(errors) > MAX_ERRORS:
        assert lines[-1] == f"and {len(errors) - MAX_ERRORS} more"


def test_what_no_message_holds():
    fits = StateRecord(0, "257", b"x" * (MAX_RECORD_BYTES - 3))
    assert oversize((fits, StateRecord(0, "257", None)), b"x" * MAX_RECORD_BYTES) is None
    long = oversize((fits, StateRecord(0, "@reply:a", b"x" * MAX_RECORD_BYTES)), None)
    assert long == f"the record @reply:a would have {MAX_RECORD_BYTES + 8} bytes"
    assert oversize((), b"x" * (MAX_RECORD_BYTES + 1)) == "the reply would have 950001 bytes"
