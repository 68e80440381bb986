"""Who writes a name that is not there is told which ones are near."""

import time

import pytest

from connector.kite.web.nearest import MAX_NAME_CHARACTERS, nearest

NAMES = {
    "NSE": dict.fromkeys(["NIFTY 50", "NIFTY BANK", "INFY", "RELIANCE", "M&M", "BAJAJ-AUTO"]),
    "BSE": dict.fromkeys(["INFY", "SENSEX"]),
    "NFO": dict.fromkeys(["NIFTY26JANFUT", "NIFTY26FEBFUT", "RELIANCE26JANFUT"]),
}


@pytest.mark.parametrize(
    ("written", "first"),
    [
        ("NSE:NIFTY50", "NSE:NIFTY 50"),
        ("NSE:nifty-50", "NSE:NIFTY 50"),
        ("NSE:MM", "NSE:M&M"),
        ("NSE:RELAINCE", "NSE:RELIANCE"),
        ("INFY", "NSE:INFY"),
        ("NSE:SENSEX", "BSE:SENSEX"),
        ("NSE:NIFTY26JANFUT", "NFO:NIFTY26JANFUT"),
        ("NFO:NIFTY26JAFUT", "NFO:NIFTY26JANFUT"),
        ("XYZ:BAJAJAUTO", "NSE:BAJAJ-AUTO"),
    ],
)
def test_the_likeliest_name_comes_first(written, first):
    assert nearest(written, NAMES)[0] == first


@pytest.mark.parametrize("written", ["", ":", "NSE:", "NSE:QQQQ", "Q" * (MAX_NAME_CHARACTERS + 1)])
def test_what_is_like_nothing_has_no_neighbours(written):
    assert nearest(written, NAMES) == ()


def test_no_more_are_told_than_asked_for():
    assert len(nearest("NFO:NIFTY26FUT", NAMES, count=1)) == 1


def test_a_whole_list_is_searched_and_few_names_are_compared_in_full(monkeypatch):
    from connector.kite.web import nearest as module

    seen = []
    close = module.difflib.get_close_matches
    monkeypatch.setattr(
        module.difflib, "get_close_matches",
        lambda word, words, *rest: seen.append(len(words)) or close(word, words, *rest),
    )  # fmt: skip
    options = {f"NIFTY26{month:02}{strike}CE" for month in range(12) for strike in range(9000)}
    names = {"NFO": dict.fromkeys(sorted(options))}
    before = time.perf_counter()
    assert nearest("NFO:NIFTY2605123CEE", names)[0] == "NFO:NIFTY2605123CE"
    print(f"{len(options)} names: {time.perf_counter() - before:.3f} s")
    assert seen[0] <= 200
