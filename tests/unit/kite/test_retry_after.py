import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.retry_after import MAX_RETRY_AFTER_SECONDS, retry_after_seconds

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("61", MAX_RETRY_AFTER_SECONDS),
        ("9" * 5000, MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:09 GMT", 9),
        ("Wednesday, 21-Oct-15 07:28:09 GMT", 9),
        ("Wed, 21 Oct 2015 07:28:09 -0000", 9),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("", 0),
        ("-7", 0),
        ("1.5", 0),
        ("\u0667", 0),
        ("soon", 0),
        ("Wed, 99 Oct 2015", 0),
    ],
)
def test_a_busy_server_may_ask_to_be_left_alone_for_a_while(told, seconds):
    for status in (429, 503):
        assert retry_after_seconds(status, {"Retry-After": told, "Date": DATE}) == seconds
    assert retry_after_seconds(500, {"Retry-After": told}) == 0


def test_a_date_is_held_against_the_answers_own_and_else_against_this_clock():
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT"}
    now = 1_445_412_480.0
    assert retry_after_seconds(503, headers, lambda: now + 4) == 5
    assert retry_after_seconds(503, {**headers, "Date": DATE}, lambda: now + 4) == 9
    assert retry_after_seconds(503, {**headers, "Date": "today"}, lambda: now + 4) == 5
    assert retry_after_seconds(503, {}) == 0


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_server_says_the_wait_has_its_bounds(told, date):
    waits = retry_after_seconds(429, {"Retry-After": told, "Date": date})
    assert 0 <= waits <= MAX_RETRY_AFTER_SECONDS
