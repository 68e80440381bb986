from connector.service.rates import HISTORY_SAMPLES, RateHistory, Rates


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


def test_a_history_has_the_growth_from_sample_to_sample_and_a_bound():
    history = RateHistory()
    assert history.of(0) == []
    for second in range(HISTORY_SAMPLES + 10):
        history.sample({0: second * second})
    assert len(history.of(0)) == HISTORY_SAMPLES
    assert history.of(0)[-1] == 2 * (HISTORY_SAMPLES + 9) - 1


def test_a_counter_that_is_gone_has_no_history_and_a_new_one_begins_flat():
    history = RateHistory()
    history.sample({0: 1000})
    history.sample({0: 1005, 1: 7})
    assert history.of(0) == [0, 5]
    assert history.of(1) == [0]
    history.sample({1: 9})
    assert history.of(0) == []
