import pytest

from connector import EventType, Mode
from connector.kite.feed.session import SLOW_ASK_MAX_SECONDS, Notice, Session

FULL, QUOTE, LTP = Mode.FULL, Mode.QUOTE, Mode.LTP


def make(capacity=3000, attempts=2, chunk_tokens=500):
    return Session(
        capacity=capacity,
        confirm_timeout_seconds=5,
        confirm_attempts=attempts,
        chunk_tokens=chunk_tokens,
    )


@pytest.fixture
def session():
    session = make()
    session.opened(0.0)
    return session


def requests(step):
    return [(request.action, request.value) for request in step.requests]


def kinds(notices):
    return [notice.type for notice in notices]


class TestRequests:
    def test_a_quote_needs_no_mode_request(self, session):
        step = session.update({1: QUOTE, 2: QUOTE}, 0.0)
        assert requests(step) == [("subscribe", [1, 2])]
        assert step.expect == [1, 2]

    def test_subscribe_comes_before_mode(self, session):
        step = session.update({1: FULL, 2: LTP, 3: QUOTE}, 0.0)
        assert requests(step) == [
            ("subscribe", [1, 2, 3]),
            ("mode", ["ltp", [2]]),
            ("mode", ["full", [1]]),
        ]

    def test_only_what_differs_is_asked_for(self, session):
        session.update({1: FULL, 2: QUOTE}, 0.0)
        assert requests(session.update({1: FULL, 2: QUOTE}, 0.0)) == []
        step = session.update({1: QUOTE, 2: FULL, 3: QUOTE}, 0.0)
        assert requests(step) == [
            ("subscribe", [3]),
            ("mode", ["quote", [1]]),
            ("mode", ["full", [2]]),
        ]
        assert step.expect == [3]

    def test_unsubscribing_comes_first_and_makes_room(self):
        session = make(capacity=2)
        session.opened(0.0)
        session.update({1: QUOTE, 2: QUOTE}, 0.0)
        step = session.update({3: QUOTE, 1: None}, 0.0)
        assert requests(step) == [("unsubscribe", [1]), ("subscribe", [3])]
        assert step.forget == [1]
        assert step.refused == []

    def test_what_was_never_there_is_not_unsubscribed(self, session):
        step = session.update({7: None}, 0.0)
        assert (requests(step), step.forget) == ([], [])

    def test_what_finds_no_room_is_refused_and_nothing_else(self):
        session = make(capacity=2)
        session.opened(0.0)
        step = session.update({1: QUOTE, 2: FULL, 3: FULL}, 0.0)
        assert step.refused == [3]
        assert session.desired == {1: QUOTE, 2: FULL}
        # changing what is there needs no room
        assert session.update({1: FULL}, 0.0).refused == []

    def test_requests_are_cut_into_chunks(self):
        session = make(chunk_tokens=2)
        session.opened(0.0)
        step = session.update(dict.fromkeys(range(5), FULL), 0.0)
        assert requests(step) == [
            ("subscribe", [0, 1]),
            ("subscribe", [2, 3]),
            ("subscribe", [4]),
            ("mode", ["full", [0, 1]]),
            ("mode", ["full", [2, 3]]),
            ("mode", ["full", [4]]),
        ]

    def test_on_the_wire_a_request_is_a_flat_list_of_numbers(self, session):
        (request,) = session.update({408065: QUOTE}, 0.0).requests
        assert str(request) == '{"a":"subscribe","v":[408065]}'

    def test_without_a_socket_changes_are_only_kept(self):
        session = make()
        step = session.update({1: FULL}, 0.0)
        assert (requests(step), step.expect) == ([], [])
        step = session.update({1: None}, 0.0)
        assert (requests(step), step.forget) == ([], [1])


class TestReplay:
    def test_everything_is_asked_for_on_a_new_socket(self, session):
        session.update({1: FULL, 2: QUOTE, 3: LTP}, 0.0)
        session.update({3: None}, 0.0)
        session.closed()
        step = session.opened(1.0)
        assert requests(step) == [("subscribe", [1, 2]), ("mode", ["full", [1]])]
        assert step.expect == [1, 2]
        assert step.notices == [Notice(EventType.RESUBSCRIBED, 2)]

    def test_it_is_done_when_each_token_has_sent_something(self):
        session = make()
        session.update({1: FULL, 2: QUOTE}, 0.0)
        session.opened(0.0)
        assert session.confirm([(1, QUOTE)], 1.0) == []
        assert session.confirm([(2, QUOTE)], 1.0) == [Notice(EventType.SNAPSHOT_DONE, 2)]
        # once
        assert session.confirm([(1, FULL)], 1.0) == []

    def test_it_is_done_when_the_last_silent_token_is_no_longer_wanted(self):
        session = make()
        session.update({1: QUOTE, 2: QUOTE}, 0.0)
        session.opened(0.0)
        session.confirm([(1, QUOTE)], 1.0)
        assert kinds(session.update({2: None}, 1.0).notices) == [EventType.SNAPSHOT_DONE]

    def test_nothing_wanted_is_nothing_to_report(self):
        assert make().opened(0.0).notices == []

    def test_a_socket_that_breaks_in_the_middle_leaves_nothing_behind(self):
        session = make()
        session.update({1: QUOTE, 2: QUOTE}, 0.0)
        session.opened(0.0)
        session.confirm([(1, QUOTE)], 0.0)
        session.closed()
        assert session.confirm([(2, QUOTE)], 0.0) == []
        session.opened(1.0)
        assert session.unconfirmed_count == 2


class TestConfirming:
    def test_counts(self, session):
        session.update({1: FULL, 2: QUOTE}, 0.0)
        assert (session.confirmed_count, session.unconfirmed_count) == (0, 2)
        assert session.silent_tokens() == [1, 2]
        session.confirm([(1, QUOTE), (2, QUOTE)], 0.0)
        # 1 has sent its snapshot in quote mode, and not yet what was asked for
        assert (session.confirmed_count, session.unconfirmed_count) == (1, 1)
        assert session.silent_tokens() == []
        session.confirm([(1, FULL)], 0.0)
        assert (session.confirmed_count, session.unconfirmed_count) == (2, 0)
        session.closed()
        assert (session.confirmed_count, session.unconfirmed_count) == (0, 2)

    def test_who_is_silent_is_counted_whatever_the_mode(self, session):
        assert session.silent_count == 0
        session.update({1: FULL, 2: QUOTE}, 0.0)
        assert session.silent_count == 2
        # in full mode nothing more may come of 1 until somebody trades it
        session.confirm([(1, QUOTE)], 0.0)
        assert (session.silent_count, session.unconfirmed_count) == (1, 2)
        session.confirm([(2, QUOTE), (3, QUOTE)], 0.0)
        assert session.silent_count == 0
        session.update({2: None}, 0.0)
        assert session.silent_count == 0
        session.closed()
        assert session.silent_count == 1

    def test_packets_of_strangers_confirm_nothing(self, session):
        session.update({1: QUOTE}, 0.0)
        session.confirm([(99, FULL)], 0.0)
        assert session.unconfirmed_count == 1

    def test_a_late_packet_in_the_old_mode_does_not_confirm(self, session):
        session.update({1: FULL}, 0.0)
        session.confirm([(1, FULL)], 0.0)
        session.update({1: LTP}, 1.0)
        session.confirm([(1, FULL)], 1.0)
        assert session.unconfirmed_count == 1
        session.confirm([(1, LTP)], 2.0)
        assert session.unconfirmed_count == 0

    def test_there_and_back_is_confirmed_by_what_was_seen_before(self, session):
        session.update({1: FULL}, 0.0)
        session.confirm([(1, FULL)], 0.0)
        session.update({1: LTP}, 1.0)
        session.update({1: FULL}, 1.0)
        assert session.unconfirmed_count == 0

    def test_a_mode_that_the_feed_loses_is_asked_for_again(self, session):
        session.update({1: FULL}, 0.0)
        session.confirm([(1, FULL)], 0.0)
        session.confirm([(1, QUOTE)], 100.0)
        assert requests(session.check(104.9)) == []
        assert requests(session.check(105.0)) == [("mode", ["full", [1]])]


class TestAskingAgain:
    def test_the_silent_are_subscribed_again_with_their_mode(self, session):
        session.update({1: FULL, 2: QUOTE, 3: QUOTE}, 0.0)
        session.confirm([(3, QUOTE)], 1.0)
        assert requests(session.check(4.9)) == []
        assert requests(session.check(5.0)) == [
            ("subscribe", [1, 2]),
            ("mode", ["quote", [2]]),
            ("mode", ["full", [1]]),
        ]
        # and not at once again
        assert requests(session.check(5.1)) == []

    def test_the_number_is_bounded_and_the_end_is_said_once(self, session):
        session.update({1: QUOTE, 2: FULL}, 0.0)
        session.confirm([(2, QUOTE)], 0.0)
        asked = [len(session.check(now).requests) for now in (5.0, 10.0)]
        assert asked == [3, 3]
        step = session.check(15.0)
        assert requests(step) == []
        assert step.notices == [
            Notice(EventType.UNCONFIRMED, 1, (1,), "no packet"),
            Notice(EventType.UNCONFIRMED, 1, (2,), "not in the mode asked for"),
        ]
        assert session.given_up_count == 2
        assert session.check(1000.0).notices == []
        assert requests(session.check(1000.0)) == []

    def test_who_is_unserved_is_told_with_the_time_of_the_first_request(self, session):
        session.update({1: QUOTE, 2: FULL, 3: QUOTE}, 0.0)
        session.confirm([(2, QUOTE)], 0.0)
        for now in (5.0, 10.0):
            session.check(now)
        assert list(session.unserved([1, 2, 3])) == [], "asked for again, not often enough yet"
        session.check(15.0)
        assert list(session.unserved([1, 2, 3])) == [(1, 0.0), (3, 0.0)]
        session.confirm([(3, QUOTE)], 20.0)
        assert list(session.unserved([1, 2, 3])) == [(1, 0.0)]
        session.closed()
        assert list(session.unserved([1, 2, 3])) == []

    def test_given_up_as_silent_its_first_packet_in_another_mode_is_a_new_beginning(self, session):
        session.update({1: FULL}, 0.0)
        for now in (5.0, 10.0, 15.0):
            session.check(now)
        assert session.given_up_count == 1
        session.confirm([(1, QUOTE)], 60.0)
        assert (session.given_up_count, session.unconfirmed_count) == (0, 1)
        assert requests(session.check(65.0)) == [("mode", ["full", [1]])]
        session.check(70.0)
        assert session.check(75.0).notices == [
            Notice(EventType.UNCONFIRMED, 1, (1,), "not in the mode asked for")
        ]

    def test_what_was_given_up_is_asked_for_with_growing_pauses(self, session):
        session.update({1: FULL, 2: LTP}, 0.0)
        session.confirm([(2, QUOTE)], 0.0)
        asked = []
        for now in range(5, 3000, 5):
            step = session.check(float(now))
            if step.requests:
                asked.append(now)
                assert ("subscribe", [1]) in requests(step)
                assert ("mode", ["ltp", [2]]) in requests(step)
        assert asked[:6] == [5, 10, 25, 45, 85, 165]
        assert asked[-1] - asked[-2] == SLOW_ASK_MAX_SECONDS
        # and as soon as it answers it is as any other
        session.confirm([(1, FULL), (2, LTP)], 3000.0)
        assert (session.confirmed_count, session.given_up_count) == (2, 0)
        assert requests(session.check(9000.0)) == []

    def test_it_is_left_alone_at_once_even_if_it_goes_on_in_another_mode(self, session):
        session.update({1: FULL}, 0.0)
        session.confirm([(1, QUOTE)], 0.0)
        for now in (5.0, 10.0, 15.0):
            session.check(now)
        session.confirm([(1, LTP)], 16.0)
        assert requests(session.check(19.0)) == []

    def test_a_late_packet_confirms_after_all(self, session):
        session.update({1: QUOTE}, 0.0)
        for now in (5.0, 10.0, 15.0):
            session.check(now)
        session.confirm([(1, QUOTE)], 60.0)
        assert (session.given_up_count, session.unconfirmed_count) == (0, 0)

    def test_wanting_it_differently_or_a_new_socket_begins_anew(self, session):
        session.update({1: QUOTE}, 0.0)
        for now in (5.0, 10.0, 15.0):
            session.check(now)
        session.update({1: FULL}, 20.0)
        assert (session.given_up_count, session.unconfirmed_count) == (0, 1)
        assert len(session.check(25.0).requests) == 2
        session.closed()
        session.opened(30.0)
        assert len(session.check(35.0).requests) == 2

    def test_no_attempts_means_no_repeats(self):
        session = make(attempts=0)
        session.update({1: QUOTE}, 0.0)
        session.opened(0.0)
        step = session.check(5.0)
        assert (requests(step), kinds(step.notices)) == ([], [EventType.UNCONFIRMED])


class TestRollCall:
    NSE, NFO = 257, 258

    @pytest.fixture
    def session(self):
        session = make(attempts=1)
        session.opened(0.0)
        session.update({self.NSE: FULL, self.NFO: QUOTE}, 0.0)
        self.hear(session, 0.0, self.NSE, self.NFO)
        return session

    def hear(self, session, now, *tokens):
        session.confirm([(token, session.desired[token]) for token in tokens], now)

    def rounds(self, session, numbers, *tokens, segments=(1, 2)):
        """Rounds of a minute in which these are heard; returns the steps at their ends."""
        steps = []
        for number in numbers:
            assert session.roll_call(segments, number * 60.0 + 59.0).watch == []
            self.hear(session, number * 60.0 + 59.0, *tokens)
            steps.append(session.roll_call(segments, (number + 1) * 60.0))
        return steps

    def test_who_falls_silent_is_asked_for_as_if_for_the_first_time(self, session):
        for step in self.rounds(session, range(5), self.NSE, self.NFO):
            assert (step.watch, step.requests) == ([self.NSE, self.NFO], [])
        quiet, asked = self.rounds(session, (5, 6), self.NFO)
        assert quiet.requests == []
        assert asked.expect == [self.NSE]
        assert requests(asked) == [
            ("unsubscribe", [self.NSE]),
            ("subscribe", [self.NSE]),
            ("mode", ["full", [self.NSE]]),
        ]
        assert session.silent_tokens() == [self.NSE]
        assert requests(session.check(426.0))[0] == ("subscribe", [self.NSE])
        step = session.check(432.0)
        assert step.notices == [Notice(EventType.UNCONFIRMED, 1, (self.NSE,), "no packet")]
        assert session.unserved_of([1]) == 1
        assert list(session.unserved([1])) == [(self.NSE, 420.0)]
        assert list(session.unserved([2])) == [], "its market is closed"
        self.hear(session, 440.0, self.NSE)
        assert session.unconfirmed_count == 0

    def test_a_closed_market_is_not_watched(self, session):
        steps = self.rounds(session, range(5), self.NSE, self.NFO, segments=(1,))
        assert all(step.watch == [self.NSE] for step in steps)
        assert not any(step.requests for step in self.rounds(session, range(5, 40), self.NSE))

    @pytest.mark.parametrize("paused", [True, False], ids=["paused", "late"])
    def test_a_round_in_which_nothing_was_read_says_nothing(self, session, paused):
        self.rounds(session, range(5), self.NSE, self.NFO)
        self.rounds(session, (5,), self.NFO)
        assert session.roll_call((1, 2), 420.0 if paused else 480.0, paused=paused).requests == []
        numbers = (7, 8) if paused else (8,)
        assert not any(step.requests for step in self.rounds(session, numbers, self.NFO))
