"""The names of tokens, for the whole process."""

from connector.kite.wire.names import name_ticks, tradingsymbol


def test_names_come_from_the_list_that_was_given_last():
    assert tradingsymbol(1) is None
    name_ticks({1: "ONE"}.get)
    name_ticks({1: "UNO"}.get)
    assert (tradingsymbol(1), tradingsymbol(2)) == ("UNO", None)
    name_ticks(None)
    assert tradingsymbol(1) is None
