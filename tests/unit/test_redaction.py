import json
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.redaction import (
    MASK,
    MAX_FOREIGN_CHARS,
    Redactor,
    cut,
    first_of,
    is_printable,
    one_line,
    printable,
    printable_json,
)
from tests.support.echoes import ECHOES, TOKEN, longest_in_common, shown_of


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_secret_is_taken_out_however_it_is_written(echo):
    shown = Redactor(TOKEN).redact(f"refused: {echo} is not known")
    assert shown.startswith("refused: ")
    assert MASK in shown
    assert shown.endswith("is not known")
    assert shown_of(shown) < 8


@pytest.mark.parametrize("sign", ["\\", "%", "&#", "<", "%25", "&#x", "\\u{0"])
def test_signs_that_begin_an_escape_may_be_many(sign):
    text = sign * 50_000
    assert Redactor(TOKEN).redact(f"{text} {TOKEN}") == f"{text} {MASK}"


def test_a_signed_token_is_taken_out_of_a_url():
    secret = "ab+c/d=e&f g:h%i;j-k_l.m~n"
    for written in (quote(secret, safe=""), quote(secret), secret.replace(" ", "+")):
        assert (
            longest_in_common(Redactor(secret).redact(f"GET /?t={written}"), "abcdefghijklmn") < 8
        )


def test_words_of_a_short_secret_stay():
    redactor = Redactor("kafka-password", "ab", "", None)
    assert redactor.redact("wrong password of kafka: ab") == "wrong password of kafka: ab"
    assert redactor.redact("wrong: kafka-password!") == "wrong: ***!"
    assert redactor.redact("wrong: kafka%2dpassword!") == "wrong: ***%2d***!"


def test_a_secret_of_signs_alone_is_taken_out():
    assert Redactor("!§$%&/()=").redact("it was !§$%&/()= there") == "it was *** there"


def test_secrets_may_come_later_and_are_in_no_repr():
    redactor = Redactor()
    assert redactor.redact(TOKEN) == TOKEN
    redactor.hide(TOKEN)
    assert redactor.redact(TOKEN) == MASK
    assert TOKEN not in repr(redactor)


@given(st.dictionaries(st.text(), st.sampled_from([TOKEN, TOKEN[:10], "words", 17.5, [TOKEN]])))
def test_json_stays_json(document):
    shown = json.loads(Redactor(TOKEN).redact(json.dumps(document)))
    assert len(shown) <= len(document)
    assert TOKEN not in str(shown)


@given(st.text(max_size=50), st.text(max_size=50), st.integers(0, 200))
def test_it_is_redacted_before_it_is_cut(before, after, max_chars):
    shown = Redactor(TOKEN).foreign(f"{before} {TOKEN} {after}", max_chars + 1)
    assert len(shown) <= max_chars + 1
    assert longest_in_common(shown) < 8
    assert "\n" not in shown


@given(st.text())
def test_text_without_a_secret_is_left_alone(text):
    assert Redactor("Q" * 40, "7" * 9).redact(text) == text or "Q" * 8 in text.upper()


def test_the_first_of_many_are_named_and_the_others_counted():
    assert first_of([], 2) == ""
    assert first_of(["a", 2], 2) == "a, 2"
    assert first_of("abcde", 2) == "a, b and 3 more"


def test_foreign_words_are_cut_and_stand_on_one_line():
    page = b"<html>\r\n<h1>Bad\tgateway\x1b[31m</h1>\xff" + b"x" * 10**6
    shown = Redactor().foreign(page)
    assert len(shown) == MAX_FOREIGN_CHARS
    assert shown.startswith("<html> <h1>Bad gateway [31m</h1>\ufffdx")
    assert shown.endswith("…")
    assert one_line(" a\u2028b\0") == "a b"
    assert one_line("a\ud800\u2066b\u202fc\udfff") == "a b\u202fc"
    assert cut("abc", 3) == "abc"


def test_the_name_of_a_setting_stays_although_a_secret_has_its_words():
    redactor = Redactor("another-wrong-password")
    advice = "it refuses another-wrong-passw…: check kafka.sasl_password"
    assert redactor.redact(advice).endswith("check kafka.sasl_password")
    assert "another" not in redactor.redact(advice)
    assert redactor.redact("another-wrong-password") == MASK


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


def test_json_has_no_number_that_is_none():
    text = printable_json({"a": [float("nan"), 1.5], "b": float("-inf"), "c": "\x1b"})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": ["NaN", 1.5], "b": "-Infinity", "c": "\x1b",
    }  # fmt: skip


def test_letters_of_every_script_stay():
    text = "NSE:M&M टाटा ₹ 日本 café"
    assert printable(text) == text


def test_a_layout_keeps_its_lines():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
