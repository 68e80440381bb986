"""The indexes against a plain look through all subscriptions."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from connector.control.records import Subscription
from connector.control.subscriptions import Subscriptions
from connector.kite.wire.models import Mode

modes = st.sampled_from(list(Mode))
wanted = st.builds(
    Subscription,
    slot=st.integers(0, 3),
    claims=st.dictionaries(st.sampled_from("abcd"), modes, min_size=1),
    symbol=st.none() | st.sampled_from(["NSE:A", "NSE:a", "NSE:B"]),
    revision=st.integers(1, 9),
)
changes = st.lists(st.tuples(st.integers(1, 9), st.none() | wanted), max_size=20)


def check(subscriptions, plain):
    assert dict(subscriptions) == dict(subscriptions.items()) == plain
    assert len(subscriptions) == len(plain)
    assert subscriptions.carried == Counter(one.slot for one in plain.values())
    assert subscriptions.modes == Counter(one.mode for one in plain.values())
    assert subscriptions.claims == sum(len(one.claims) for one in plain.values())
    for symbol in ("NSE:A", "nse:b", "NSE:C"):
        named = {
            t for t, one in plain.items() if one.symbol and one.symbol.upper() == symbol.upper()
        }
        assert subscriptions.named(symbol) in (named or {None})


@given(st.lists(changes, max_size=6))
def test_every_version_answers_as_a_look_through_it_would(drafts):
    versions = [(Subscriptions(), {})]
    for made in drafts:
        base, plain = versions[-1]
        draft, copy = base.draft(), dict(plain)
        for token, one in made:
            if one is not None:
                draft.change({token: one})
                copy[token] = one
            elif token in copy:
                assert draft[token] == copy.pop(token)
                draft.change({token: None})
            check(draft, copy)
            for name in "abcd":
                claimed = {t for t, claim in copy.items() if name in claim.claims}
                assert set(draft.claimed(name)) == claimed
                assert draft.has_watchlist(name) == bool(claimed)
            assert draft.watchlist_count() == len({n for o in copy.values() for n in o.claims})
        versions.append((draft.finish(), copy))
    for subscriptions, plain in versions:
        check(subscriptions, plain)
        assert subscriptions == Subscriptions.of(plain)
        counts = Counter(name for one in plain.values() for name in one.claims)
        watchlists = {name: len(tokens) for name, tokens in subscriptions.watchlists.items()}
        assert watchlists == counts
