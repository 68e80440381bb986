import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.text import is_printable, printable, printable_json

ANY = st.text(st.characters(), max_size=60)
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J",
        "\x9b31m",
        "a\rb",
        "\x07",
        "\x7f",
        "\u202egnp",
        "\u2066x",
        "\u200b",
        "\ud800",
        "\0",
    ],
)
def test_what_steers_a_terminal_is_escaped(text):
    assert not is_printable(text)
    shown = printable(text)
    assert is_printable(shown)
    assert shown.isascii()
    assert "\\" in shown


@given(ANY)
def test_what_is_shown_can_be_looked_at(text):
    shown = printable(text)
    assert is_printable(shown)
    assert not {unicodedata.category(character) for character in shown} & UNSEEN
    assert (shown == text) == is_printable(text)


@given(st.recursive(ANY | st.integers(), lambda of: st.lists(of) | st.dictionaries(ANY, of)))
def test_json_stays_the_same_value(value):
    for indent in (None, 2):
        shown = printable_json(value, indent=indent)
        assert json.loads(shown) == value
        assert is_printable(shown.replace("\n", ""))


def test_letters_of_every_script_stay():
    text = "NSE:M&M टाटा ₹ 日本 café"
    assert printable(text) == text


def test_a_layout_keeps_its_lines():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
