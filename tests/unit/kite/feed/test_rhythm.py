import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.kite.feed.rhythm import FEW, LEARNED_ROUNDS, QUIET_ROUNDS, SAMPLE, Rhythm


def play(rhythm, tokens, rounds, heard=lambda token, number: True):
    """Rounds in which instruments are heard or not; returns what is asked for at the end of each.

    Nothing is answered.
    """
    asked = []
    for number in range(rounds):
        for token in tokens:
            if heard(token, number):
                rhythm.heard(token, answered=False)
        asked.append(rhythm.end_round(tokens))
    return asked


@pytest.fixture
def rhythm():
    rhythm = Rhythm()
    rhythm.end_round([1, 2])
    return rhythm


def test_who_ticks_each_round_is_asked_for_once_when_it_stops(rhythm):
    assert not any(play(rhythm, [1, 2], LEARNED_ROUNDS))
    asked = play(rhythm, [1, 2], 50, lambda token, _: token == 1)
    assert asked[: QUIET_ROUNDS - 1] == [[]] * (QUIET_ROUNDS - 1)
    assert asked[QUIET_ROUNDS - 1] == [2]
    assert not any(asked[QUIET_ROUNDS:]), "whoever does not answer is somebody else's to ask again"


def test_an_answer_is_a_silence_that_ended_and_the_next_question_comes_later(rhythm):
    play(rhythm, [1, 2], LEARNED_ROUNDS)
    pauses, pause = [], 0
    for _ in range(400):
        asked = play(rhythm, [1, 2], 1, lambda token, _: token == 1)[0]
        pause += 1
        if asked:
            pauses.append(pause)
            rhythm.heard(2, answered=True)
            pause = 0
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(pauses))
    assert len(pauses) <= 7


def test_who_ticks_seldom_is_left_alone(rhythm):
    """Once in seven rounds, for a long time."""
    asked = play(rhythm, [1, 2], 300, lambda token, number: token == 1 or number % 7 == 0)
    assert not any(asked[:LEARNED_ROUNDS])
    assert sum(map(len, asked)) == 0


def test_who_was_never_heard_but_for_answers_is_never_asked(rhythm):
    for _ in range(LEARNED_ROUNDS + 1):
        rhythm.heard(2, answered=True)
        rhythm.end_round([1, 2])
    assert not any(play(rhythm, [1, 2], 50, lambda token, _: token == 1))


def test_time_outside_of_market_hours_is_no_silence(rhythm):
    play(rhythm, [1, 2], LEARNED_ROUNDS)
    for _ in range(100):
        assert rhythm.end_round([]) == []
    # what opens is watched from then on: the round before says nothing
    assert rhythm.end_round([1, 2]) == []
    asked = play(rhythm, [1, 2], QUIET_ROUNDS, lambda token, _: token == 1)
    assert asked == [[], [2]]


def test_a_new_socket_begins_without_a_silence(rhythm):
    play(rhythm, [1, 2], LEARNED_ROUNDS)
    play(rhythm, [1, 2], QUIET_ROUNDS - 1, lambda *_: False)
    rhythm.opened()
    assert rhythm.end_round([1, 2]) == []
    asked = play(rhythm, [1, 2], QUIET_ROUNDS, lambda *_: False)
    assert asked[:-1] == [[]] * (QUIET_ROUNDS - 1)
    assert sorted(asked[-1]) == [1, 2]


def test_who_is_no_longer_wanted_is_forgotten(rhythm):
    play(rhythm, [1, 2], LEARNED_ROUNDS)
    rhythm.forget([2])
    assert not any(play(rhythm, [1], 50))


def test_in_a_quiet_market_questions_become_few():
    rhythm, tokens = Rhythm(), range(1000)
    rhythm.end_round(tokens)
    play(rhythm, tokens, LEARNED_ROUNDS)
    counts = []
    for _ in range(30):
        asked = rhythm.end_round(tokens)
        counts.append(len(asked))
        for token in asked:
            rhythm.heard(token, answered=True)
    assert max(counts) == SAMPLE
    assert counts[-10:] == [FEW] * 10


def test_where_one_does_not_answer_all_that_are_overdue_are_asked_for():
    rhythm, tokens = Rhythm(), range(1000)
    rhythm.end_round(tokens)
    play(rhythm, tokens, LEARNED_ROUNDS)
    asked = play(rhythm, tokens, QUIET_ROUNDS + 1, lambda token, _: token % 2 == 0)
    assert [len(each) for each in asked] == [0] * (QUIET_ROUNDS - 1) + [SAMPLE, 500 - SAMPLE]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5)), st.booleans()),
        max_size=60,
    )
)
def test_only_what_is_watched_and_was_heard_before_is_asked_and_never_twice_in_a_row(rounds):
    rhythm, watched, ever, open_questions = Rhythm(), set(), set(), set()
    for heard, trading, new_socket in rounds:
        if new_socket:
            rhythm.opened()
            watched, open_questions = set(), set()
        for token in heard:
            rhythm.heard(token, answered=token in open_questions)
        ever |= heard
        asked = set(rhythm.end_round(trading))
        assert asked <= trading & ever
        open_questions -= heard & watched & trading
        assert not asked & open_questions
        open_questions |= asked
        watched = trading
