import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.access_token_syntax import MAX_TOKEN_FILE_BYTES, usable_token
from tests.support.unusable_tokens import UNUSABLE

SPACE = st.text(" \t\r\n", max_size=5).map(str.encode)


@given(SPACE, st.from_regex(r"[A-Za-z0-9._~+/-]{1,64}={0,2}", fullmatch=True), SPACE)
def test_space_and_blank_lines_around_a_token_do_not_count(before, token, after):
    assert usable_token(before + token.encode() + after) == token


@pytest.mark.parametrize(("content", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_token_is_told_by_its_kind_alone(content, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        usable_token(content)
    assert "yesterdays" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_token_of_printable_ascii_or_refused(content):
    try:
        token = usable_token(content)
    except ValueError:
        pass
    else:
        assert token.isascii()
        assert token.isprintable()
        assert not set(token) & set(" \"'{}#")
        assert token.encode() in content


def test_a_token_has_a_bound():
    assert len(usable_token(b"a" * MAX_TOKEN_FILE_BYTES)) == MAX_TOKEN_FILE_BYTES
    with pytest.raises(ValueError, match="more than 4096 bytes"):
        usable_token(b"a" * (MAX_TOKEN_FILE_BYTES + 1))
