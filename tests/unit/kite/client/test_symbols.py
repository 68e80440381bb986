"""Names wherever tokens may stand, where there is a list of them."""

import pytest

from connector import CapacityError, InstrumentList, InstrumentNotFoundError, Mode
from connector.kite.client.symbols import Symbols
from connector.kite.web.instrument_csv import COLUMNS
from connector.kite.wire.names import name_ticks
from connector.testing import FakeFeed

LIST = ",".join(COLUMNS) + "\n" + "408065,1,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"


@pytest.fixture
def instruments():
    yield InstrumentList.from_csv(LIST)
    name_ticks(None)


def test_without_a_list_names_are_refused_with_what_to_do():
    symbols = Symbols(None)
    assert symbols.tokens([7, 7, 9]) == [7, 9]
    with pytest.raises(InstrumentNotFoundError, match=r"InstrumentList\.load"):
        symbols.tokens(["NSE:INFY"])
    with pytest.raises(TypeError):
        symbols.tokens(["408065"])
    with pytest.raises(TypeError, match=r"\['NSE:INFY'\] in place of 'NSE:INFY'"):
        symbols.tokens("NSE:INFY")


async def test_a_manager_takes_names_everywhere(instruments):
    manager = FakeFeed().manager(instruments=instruments)
    with pytest.raises(TypeError, match=r"\['NSE:INFY'\] in place of 'NSE:INFY'"):
        manager.subscribe_symbols("NSE:INFY", Mode.LTP)
    manager.subscribe_symbols(["NSE:INFY", 256265], Mode.LTP)
    manager.change_mode(["NSE:INFY"], Mode.FULL)
    assert manager.subscriptions() == {408065: Mode.FULL, 256265: Mode.LTP}
    with pytest.raises(InstrumentNotFoundError, match="did you mean NSE:INFY"):
        manager.subscribe_symbols([738561, "NSE:INFI"])
    manager.unsubscribe_symbols(["NSE:INFY"])
    assert manager.subscriptions() == {256265: Mode.LTP}


async def test_a_ticker_and_its_subscribers_take_names(instruments):
    ticker = FakeFeed().ticker(instruments=instruments)
    subscriber = ticker.subscribe_symbols(["NSE:INFY", 256265], Mode.LTP)
    subscriber.set_mode(["NSE:INFY"], Mode.FULL)
    assert ticker.get_subscribed() == {408065: Mode.FULL, 256265: Mode.LTP}
    subscriber.unsubscribe(["NSE:INFY"])
    assert subscriber.get_subscribed() == {256265: Mode.LTP}
    with pytest.raises(InstrumentNotFoundError):
        ticker.subscribe(["NSE:INFI"])
    assert ticker.get_subscribed() == {256265: Mode.LTP}


async def test_what_finds_no_room_is_still_told_by_token(instruments):
    manager = FakeFeed().manager(
        instruments=instruments, max_connections=1, max_symbols_per_connection=1
    )
    with pytest.raises(CapacityError) as error:
        manager.subscribe_symbols([256265, "NSE:INFY"])
    assert error.value.refused == [408065]
