from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.simulator.market import Market
from connector.simulator.ring import Ring
from connector.simulator.universe import Universe
from tests.support.simulated import fake_socket

MARKET = Market(Universe(200, date(2026, 9, 1)), 1, 1_788_252_000)
QUOTES = [MARKET.quote(one.instrument_token) for one in MARKET.universe.listings[:8]]
A, B, C = QUOTES[:3]


@pytest.fixture
def ring():
    return Ring()


@pytest.fixture
def socket():
    return fake_socket()


def turns(ring, count):
    return [quote for quote, _ in ring.turns(count)]


def test_each_has_its_turn_in_the_order_in_which_it_came(ring, socket):
    for quote in (B, A, C):
        ring.put(quote, socket, "quote")
    assert turns(ring, 4) == [B, A, C, B]
    assert turns(ring, 2) == [A, C]
    assert len(ring) == 3


def test_one_that_comes_moves_nobody_elses_turn(ring, socket):
    ring.put(A, socket, "quote")
    ring.put(B, socket, "quote")
    assert turns(ring, 1) == [A]
    ring.put(C, socket, "quote")
    assert turns(ring, 3) == [B, C, A]


def test_it_tells_who_watches_and_in_which_mode(ring, socket):
    other = fake_socket()
    ring.put(A, socket, "quote")
    ring.put(A, other, "full")
    ring.put(A, socket, "ltp")
    assert [watchers for _, watchers in ring.turns(1)] == [{socket: "ltp", other: "full"}]
    ring.remove(A.token, other)
    assert [watchers for _, watchers in ring.turns(1)] == [{socket: "ltp"}]
    assert len(ring) == 1


def test_nobody_watches_anything(ring, socket):
    assert turns(ring, 3) == []
    ring.put(A, socket, "quote")
    ring.remove(A.token, socket)
    ring.remove(A.token, socket)
    ring.remove(B.token, socket)
    assert turns(ring, 3) == []
    assert len(ring) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove", "turn"]),
            st.integers(0, len(QUOTES) - 1),
            st.integers(0, 1),
        ),
        max_size=60,
    )
)
def test_in_one_round_each_that_is_watched_has_one_turn(steps):
    ring, sockets, model = Ring(), (fake_socket(), fake_socket()), {}
    for step, place, who in steps:
        quote, socket = QUOTES[place], sockets[who]
        if step == "put":
            ring.put(quote, socket, "quote")
            model.setdefault(quote, set()).add(socket)
        elif step == "remove":
            ring.remove(quote.token, socket)
            model.get(quote, set()).discard(socket)
        else:
            assert all(model[quote] for quote in turns(ring, 1))
        watched = {quote: watchers for quote, watchers in model.items() if watchers}
        assert len(ring) == len(watched)
        assert {q: set(w) for q, w in ring.turns(len(ring))} == watched
