from hypothesis import given
from hypothesis import strategies as st

from connector.simulator.candles import Candles

trades = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 2**32 - 1), st.integers(0, 900)), max_size=60
)


@given(trades)
def test_a_candle_is_made_of_every_trade_of_its_minute(trades):
    book, now, expected = Candles(1000), 6000, {}
    for seconds, price, quantity in trades:
        now += seconds
        book.add(now, price, quantity, oi=now)
        expected.setdefault(now // 60, []).append((price, quantity, now))
    assert book.between(0, 2**40) == [
        (
            minute, made[0][0], max(price for price, *_ in made), min(price for price, *_ in made),
            made[-1][0], sum(quantity for _, quantity, _ in made), made[-1][2],
        )
        for minute, made in expected.items()
    ]  # fmt: skip


def test_only_the_last_minutes_are_kept_and_only_those_asked_for_returned():
    book = Candles(3)
    for minute in range(10):
        book.add(minute * 60, 100 + minute, 1, 0)
    # the one that is forming is none of the kept
    assert [candle[0] for candle in book.between(0, 99)] == [6, 7, 8, 9]
    assert [candle[0] for candle in book.between(7, 8)] == [7, 8]
    assert Candles(3).between(0, 99) == []
