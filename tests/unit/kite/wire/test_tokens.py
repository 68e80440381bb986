import pytest

from connector.kite.wire.tokens import checked_tokens


class Index:
    """A whole number that is no int, as numpy's are."""

    def __index__(self):
        return 7


def test_each_once_in_order_and_as_plain_ints():
    assert checked_tokens(iter([3, 1, 3, Index(), 7, 2**32 - 1])) == [3, 1, 7, 2**32 - 1]
    assert {type(token) for token in checked_tokens([Index()])} == {int}
    assert checked_tokens([]) == []


@pytest.mark.parametrize("wrong", ["408065", 1.0, None, True, [1]])
def test_what_is_no_whole_number(wrong):
    with pytest.raises(TypeError):
        checked_tokens([1, wrong])


def test_a_string_is_no_list_of_tokens():
    with pytest.raises(TypeError):
        checked_tokens("408065")


@pytest.mark.parametrize("wrong", [0, -1, 2**32])
def test_what_is_out_of_range(wrong):
    with pytest.raises(ValueError, match=str(wrong)):
        checked_tokens([wrong])


@pytest.mark.parametrize("alone", ["NSE:INFY", b"ab", bytearray(b"ab"), 408065, None])
def test_a_single_one_in_place_of_a_list_is_told_so(alone):
    """A string's characters and the bytes of bytes would be taken for instruments."""
    with pytest.raises(TypeError, match="given as a list"):
        checked_tokens(alone)
