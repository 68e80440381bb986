from datetime import date, datetime

import pytest

from connector.kite.clock import IST
from connector.simulator.access import RefusedError
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.historical import HistoricalApi
from connector.simulator.market import Market
from connector.simulator.universe import Universe

INFY, NIFTY_50 = 408065, 256265
NOW = round(datetime(2026, 1, 30, 10, 50, tzinfo=IST).timestamp())


class Kit:
    def __init__(self, per_second=1000):
        self.now = 0.0
        self.market = Market(Universe(200, date(2026, 1, 30)), 1, NOW)
        self.api = HistoricalApi(self.market, per_second, monotonic=lambda: self.now)
        for seconds, price in [(0, 1500.0), (30, 1501.0), (60, 1502.0), (180, 1503.0)]:
            self.market.trade(self.market.quote(INFY), price, 7, NOW + seconds)

    def ask(self, token=INFY, interval="minute", begins="10:50:00", ends="10:53:59", **more):
        query = {"from": f"2026-01-30 {begins}", "to": f"2026-01-30 {ends}", **more}
        return self.api.answer("key", str(token), interval, query)["candles"]


def test_candles_are_as_kite_writes_them():
    kit = Kit()
    assert kit.ask() == [
        ["2026-01-30T10:50:00+0530", 1500.0, 1501.0, 1500.0, 1501.0, 14],
        ["2026-01-30T10:51:00+0530", 1502.0, 1502.0, 1502.0, 1502.0, 7],
        ["2026-01-30T10:53:00+0530", 1503.0, 1503.0, 1503.0, 1503.0, 7],
    ]
    assert [row[0][11:16] for row in kit.ask(begins="10:50:01", ends="10:51:00")] == ["10:51"]
    assert all(len(row) == 7 for row in kit.ask(oi="1"))


def test_an_index_has_no_volume():
    kit = Kit()
    kit.market.advance(kit.market.quote(NIFTY_50), NOW)
    ((*_, volume, oi),) = kit.ask(NIFTY_50, oi="1")
    assert (volume, oi) == (0, 0)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"token": 5}, "token"),
        ({"token": "x"}, "token"),
        ({"interval": "2minute"}, "interval"),
        ({"interval": "day"}, "minutes only"),
        ({"from": "yesterday"}, "from"),
        ({"to": ""}, "to"),
        ({"begins": "11:00:00"}, "after"),
        ({"from": "2025-11-01 00:00:00"}, "60 days"),
    ],
)
def test_what_kite_does_not_know_is_refused(asked, words):
    with pytest.raises(RefusedError) as refused:
        Kit().ask(**asked)
    assert (refused.value.status, refused.value.error_type) == (400, "InputException")
    assert words in refused.value.message


def test_more_than_three_requests_a_second_of_an_api_key_are_refused():
    kit = Kit(per_second=3)
    for _ in range(3):
        kit.ask()
    with pytest.raises(RefusedError) as refused:
        kit.ask()
    assert refused.value.status == 429
    kit.api.answer("other", str(INFY), "minute", {"from": "2026-01-30 10:50:00",
                                                 "to": "2026-01-30 10:50:00"})  # fmt: skip
    kit.now += 1.0
    assert kit.ask()
    assert kit.api.requests == 6


def fault(kind, **details):
    return FaultSpec(kind=kind, **details)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, "PermissionException"), (429, "NetworkException"), (503, "NetworkException")],
)
def test_answers_are_refused_as_often_as_asked(status, kind):
    kit = Kit()
    kit.api.inject(fault(FaultKind.REFUSE_CANDLES, status=status, count=2))
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            kit.ask()
        assert (refused.value.status, refused.value.error_type) == (status, kind)
    assert kit.ask()


def test_answers_lack_candles_as_often_as_asked():
    kit = Kit()
    kit.api.inject(fault(FaultKind.NO_CANDLES))
    kit.api.inject(fault(FaultKind.HALF_CANDLES))
    assert [len(kit.ask()) for _ in range(3)] == [0, 1, 3]


def test_faults_to_come_can_be_cleared():
    kit = Kit()
    for kind in (FaultKind.NO_CANDLES, FaultKind.HALF_CANDLES):
        kit.api.inject(fault(kind))
    kit.api.clear(FaultKind.NO_CANDLES)
    assert len(kit.ask()) == 1
    kit.api.inject(fault(FaultKind.NO_CANDLES))
    kit.api.clear()
    assert len(kit.ask()) == 3
