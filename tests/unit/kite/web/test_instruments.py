import pytest

from connector.errors import InstrumentNotFoundError
from connector.kite.web.instruments import MAX_TOKENS_OF_NAME, InstrumentMaster
from tests.support.instruments import INFY, NIFTY, OPTION, lines


def master(*rows):
    return InstrumentMaster.from_csv(lines(*rows))


def test_finding():
    names = master(INFY, NIFTY, OPTION)
    assert len(names) == 3
    assert 408065 in names
    assert names.get(408065) is names.find("NSE:INFY") is names.named("NSE:INFY")
    assert names.token("NSE:NIFTY 50") == 256265, "an index stands under its exchange"
    assert names.symbol(8963330) == "NFO:NIFTY2690124750CE"
    assert names.symbols()[408065] == "INFY"
    assert [instrument.exchange for instrument in names] == ["NSE", "NSE", "NFO"]


@pytest.mark.parametrize("written", ["GLOBAL:Dow Jones", "global:dow jones", "GLOBAL:DOW JONES"])
def test_capital_and_small_letters_are_the_same_where_no_name_is_exactly_so(written):
    names = master(INFY, "769,3,Dow Jones,,0,,0,0,0,EQ,INDICES,GLOBAL")
    assert names.listed(written) == (769,)
    assert names.token("nse:infy") == 408065


def test_an_exact_name_comes_before_others_with_its_letters():
    names = master(
        "769,3,Dow,,0,,0,0,0,EQ,INDICES,GLOBAL",
        "1025,4,DOW,,0,,0,0,0,EQ,INDICES,GLOBAL",
        "1281,5,dow,,0,,0,0,0,EQ,INDICES,GLOBAL",
    )
    assert [names.token(f"GLOBAL:{name}") for name in ("Dow", "DOW", "dow")] == [769, 1025, 1281]
    assert names.listed("global:dOW") == (1025, 769, 1281)
    assert names.token("global:dOW") is None


def test_a_name_of_several_tokens_is_ambiguous_in_any_letters():
    names = master(
        INFY, INFY.replace("408065", "410625"), OPTION, INFY, "769,3,Dow,,0,,0,0,0,EQ,INDICES,NSE",
        "1025,3,Dow,,0,,0,0,0,EQ,INDICES,NSE",
    )  # fmt: skip
    assert names.listed("nse:infy") == names.listed("NSE:INFY") == (408065, 410625)
    assert names.listed("NSE:DOW") == (769, 1025)
    assert (names.token("NSE:INFY"), names.ambiguous, names.repeated) == (None, 2, 0)
    assert names.symbol(410625) == "NSE:INFY"
    assert names.named("NSE:INFY") is None


def test_a_list_full_of_one_name_knows_few_of_its_tokens():
    rows = [f"{n << 8 | 1},{n},INFY,,0,,0,0,0,EQ,NSE,NSE" for n in range(1, 1001)]
    letters = [f"{n:010b}".replace("0", "a").replace("1", "A") for n in range(1000)]
    rows += [f"{n << 8 | 3},{n},{name},,0,,0,0,0,EQ,BSE,BSE" for n, name in enumerate(letters, 1)]
    names = master(*rows)
    assert len(names) == 2000
    few = tuple(n << 8 | 1 for n in range(1, MAX_TOKENS_OF_NAME + 1))
    assert names.listed("NSE:INFY") == names.listed("nse:infy") == few
    assert len(names.listed("BSE:AaAaAaAaAa")) == 1
    assert len(names.listed("bse:aaaaaaaaaa")) == MAX_TOKENS_OF_NAME
    # whatever its number, each is streamed by its token, and by its own letters
    assert names.symbol(1000 << 8 | 1) == "NSE:INFY"
    assert names.token(f"BSE:{letters[999]}") == 1000 << 8 | 3


def test_of_two_names_of_a_token_the_first_is_shown_and_both_are_found():
    names = master(INFY, INFY.replace("INFY", "OTHER"))
    assert (names.symbol(408065), names.repeated, len(names)) == ("NSE:INFY", 1, 1)
    assert names.listed("NSE:OTHER") == names.listed("NSE:INFY") == (408065,)


@pytest.mark.parametrize("symbol", ["INFY", "BSE:INFY", "", ":", "NSE:"])
def test_names_that_are_none(symbol):
    names = master(INFY)
    assert names.token(symbol) is None
    with pytest.raises(InstrumentNotFoundError):
        names.find(symbol)
    assert names.get(1) is names.symbol(1) is None


def test_rows_that_cannot_be_read_are_known_to_the_list():
    assert master(INFY, "x").skipped == 1
