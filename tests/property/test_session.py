"""The session against a model of the feed, with everything that can happen in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connector import EventType, Mode
from connector.kite.feed.session import Session

CAPACITY = 12
TIMEOUT = 5.0
ATTEMPTS = 2

tokens = st.integers(1, 20)
modes = st.sampled_from(Mode)


def tokens_of(request):
    return request.value[1] if request.action == "mode" else request.value


class Feed:
    """What Kite does with requests, seen from outside: no answers, only packets."""

    def __init__(self):
        self.subscriptions = {}
        self.requests = 0
        # subscriptions that it lost without a word
        self.lost = set()

    def take(self, request):
        self.requests += 1
        if request.action == "subscribe":
            self.lost -= set(request.value)
            for token in request.value:
                self.subscriptions.setdefault(token, Mode.QUOTE)
        elif request.action == "unsubscribe":
            self.lost -= set(request.value)
            for token in request.value:
                self.subscriptions.pop(token, None)
        else:
            mode, tokens = request.value
            assert len(tokens) <= 4
            for token in tokens:
                # a mode for what is not subscribed does nothing: subscribe must come first
                assert token in self.subscriptions or token in self.lost
                if token in self.subscriptions:
                    self.subscriptions[token] = Mode(mode)
        assert len(request.value) <= 4
        # a feed that counted more would refuse the rest
        assert len(self.subscriptions) <= CAPACITY


class SessionMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.session = Session(
            capacity=CAPACITY,
            confirm_timeout_seconds=TIMEOUT,
            confirm_attempts=ATTEMPTS,
            chunk_tokens=4,
        )
        self.now = 0.0
        self.feed = None
        self.desired = {}
        # tokens whose next packet is a snapshot
        self.expected = set()
        self.replayed = None
        self.lossy = False

    def apply(self, step, *, lost=()):
        self.expected -= set(step.forget)
        if self.replayed is not None:
            self.replayed -= set(step.forget)  # wanted again later, it is no replay
        self.expected |= set(step.expect)
        for index, request in enumerate(step.requests):
            if index in lost and request.action == "subscribe":
                self.lossy = True
                break
            self.feed.take(request)
        self.note(step.notices)

    def note(self, notices):
        for notice in notices:
            if notice.type is EventType.SNAPSHOT_DONE:
                # said once for each replay, and only when nothing replayed is silent
                assert self.replayed is not None
                assert not self.replayed & self.expected & set(self.session.desired)
                self.replayed = None
            elif notice.type is EventType.UNCONFIRMED:
                assert set(notice.tokens) <= set(self.session.desired)

    def close_model(self):
        self.feed = None
        self.expected.clear()
        self.replayed = None
        self.lossy = False

    @rule(changes=st.dictionaries(tokens, st.none() | modes, max_size=15))
    def update(self, changes):
        step = self.session.update(changes, self.now)
        for token, mode in changes.items():
            if mode is None:
                self.desired.pop(token, None)
        refused = []
        for token, mode in changes.items():
            if mode is not None:
                if token in self.desired or len(self.desired) < CAPACITY:
                    self.desired[token] = mode
                else:
                    refused.append(token)
        assert step.refused == refused
        if self.feed is None:
            assert step.requests == []
        self.apply(step)

    @precondition(lambda self: self.feed is None)
    @rule()
    def open(self):
        self.feed = Feed()
        step = self.session.opened(self.now)
        self.replayed = set(self.desired) or None
        self.apply(step)
        assert self.feed.subscriptions == self.desired
        assert set(step.expect) == set(self.desired)

    @precondition(lambda self: self.feed is not None)
    @rule()
    def lose_socket(self):
        self.session.closed()
        self.close_model()

    @precondition(lambda self: self.feed is not None)
    @rule(data=st.data())
    def packets(self, data):
        """Some instruments tick, each in the mode that the feed has for it."""
        ticking = data.draw(st.sets(st.sampled_from(sorted(self.feed.subscriptions) or [99])))
        pairs = [(t, self.feed.subscriptions[t]) for t in ticking if t in self.feed.subscriptions]
        self.expected -= {token for token, _ in pairs}
        self.note(self.session.confirm(pairs, self.now))

    @precondition(lambda self: self.feed is not None)
    @rule(token=tokens, mode=modes)
    def a_late_packet(self, token, mode):
        """Of anything, in any mode: it was under way."""
        if token in self.feed.lost:
            return  # it would confirm what the feed has lost, and nothing could tell
        if token in self.feed.subscriptions:
            self.expected.discard(token)
        self.note(self.session.confirm([(token, mode)], self.now))

    @precondition(lambda self: self.feed is not None)
    @rule(token=tokens)
    def the_feed_loses_a_mode(self, token):
        if token in self.feed.subscriptions:
            self.feed.subscriptions[token] = Mode.QUOTE
            self.lossy = True

    @precondition(lambda self: self.feed is not None)
    @rule(token=tokens)
    def the_feed_loses_a_subscription(self, token):
        """Only one that has sent nothing: of the others nobody could notice."""
        if token in self.expected:
            self.feed.subscriptions.pop(token, None)
            self.feed.lost.add(token)
            self.lossy = True

    @rule(seconds=st.sampled_from([0.5, TIMEOUT, 3 * TIMEOUT]))
    def time_passes(self, seconds):
        self.now += seconds
        if self.feed is not None:
            step = self.session.check(self.now)
            assert all(request.action != "unsubscribe" for request in step.requests)
            self.apply(step)

    @precondition(lambda self: self.feed is not None)
    @rule()
    def quiescence(self):
        """Everything ticks and time passes: then the feed has what is wanted, or it is told."""
        for _ in range(ATTEMPTS + 2):
            pairs = list(self.feed.subscriptions.items())
            self.expected -= set(self.feed.subscriptions)
            self.note(self.session.confirm(pairs, self.now))
            self.now += TIMEOUT
            step = self.session.check(self.now)
            self.apply(step)
        assert set(self.feed.subscriptions) <= set(self.desired)
        wrong = {
            token
            for token, mode in self.desired.items()
            if self.feed.subscriptions.get(token) is not mode
        }
        # what is not as it should be is known to be so
        assert len(wrong) <= self.session.given_up_count
        if not self.lossy:
            assert self.feed.subscriptions == self.desired
            assert self.session.unconfirmed_count == 0
            assert self.replayed is None
        # and there is nothing more to ask but for what was given up, and that slowly
        for _ in range(100):
            self.now += TIMEOUT
            step = self.session.check(self.now)
            asked = {token for request in step.requests for token in tokens_of(request)}
            assert asked <= wrong
            assert step.notices == []
            self.apply(step)

    @precondition(lambda self: self.feed is not None)
    @rule(everything=st.booleans())
    def a_quiet_socket_is_asked(self, everything):
        """It changes nothing of what is subscribed, and what is known stays as it is."""
        before = self.session.confirmed_count, self.session.given_up_count
        step = self.session.ask_all() if everything else self.session.probe()
        asked = {token for request in step.requests for token in tokens_of(request)}
        assert asked == set(step.expect) <= set(self.desired)
        subscribed = {token: mode for token, mode in self.feed.subscriptions.items()
                      if token not in asked}  # fmt: skip
        for request in step.requests:
            self.feed.take(request)
        for token, mode in subscribed.items():
            assert self.feed.subscriptions[token] is mode
        for token in asked:
            assert self.feed.subscriptions[token] is self.desired[token]
        assert (self.session.confirmed_count, self.session.given_up_count) == before

    @invariant()
    def desired_is_what_was_asked_for(self):
        if hasattr(self, "session"):
            assert self.session.desired == self.desired
            assert len(self.desired) <= CAPACITY

    @invariant()
    def the_feed_has_it_at_once_unless_it_loses_something(self):
        if hasattr(self, "session") and self.feed is not None and not self.lossy:
            assert self.feed.subscriptions == self.desired

    @invariant()
    def counts_add_up(self):
        if hasattr(self, "session"):
            assert self.session.confirmed_count >= 0
            assert self.session.confirmed_count + self.session.unconfirmed_count == len(
                self.desired
            )
            assert self.session.given_up_count <= self.session.unconfirmed_count
            assert self.session.unserved_count <= self.session.given_up_count
            assert self.session.wanted_of(self.session.segments) == len(self.desired)
            assert set(self.session.segments) == {token & 0xFF for token in self.desired}
            if self.feed is not None:
                assert set(self.session.silent_tokens()) == self.expected & set(self.desired)


TestSession = SessionMachine.TestCase
TestSession.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
