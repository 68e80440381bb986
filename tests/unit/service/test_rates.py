from connector.service.rates import Rates


def test_growth_over_the_window():
    rates = Rates(window_seconds=5)
    assert rates.per_second("nse") == 0
    for second in range(20):
        rates.sample(second, {"nse": second * 100 if second > 10 else 0, "nfo": second})
        if second == 0:
            assert rates.per_second("nse") == 0
    assert rates.per_second("nse") == 100
    assert rates.per_second("nfo") == 1
    assert rates.per_second("unheard of") == 0


def test_a_counter_that_went_away_is_no_negative_rate():
    rates = Rates()
    rates.sample(0, {"slot": 50})
    rates.sample(1, {})
    assert rates.per_second("slot") == 0


def test_two_samples_at_once():
    rates = Rates()
    rates.sample(1, {"a": 1})
    rates.sample(1, {"a": 2})
    assert rates.per_second("a") == 0
