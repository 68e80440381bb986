import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from connector.settings.yaml_text import MAX_DEPTH, YamlTextError, read_yaml

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(TREES, st.booleans())
def test_it_reads_what_yaml_writes(tree, flow):
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    if "<<" not in text:
        assert read_yaml(text).value == tree


PIECES = st.sampled_from(
    ["a: ", "- ", "&x ", "*x", "[", "]", "{", "}", "\n", "  ", ": ", "? ", "!!int ", "!t ", "<<: ",
     "'", '"', "|", "---\n", "...\n", "%YAML 1.1\n", "2026-13-45", "0x", "1e9", "~", "#", "\t", "="]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_any_text_is_a_value_or_a_reason_with_a_line(text):
    lines = text.count("\n") + text.count("\r") + 2
    try:
        document = read_yaml(text)
        told = set(document.lines.values())
    except YamlTextError as error:
        told = {error.line or 1}
    assert all(1 <= line <= lines + 10 for line in told)


@given(st.binary(max_size=60))
def test_any_bytes(data):
    with contextlib.suppress(YamlTextError):
        read_yaml(data)


def test_lines_are_those_of_keys_and_items():
    document = read_yaml("a:\n  b: [1,\n 2]\nc: 3\nc: 4\n")
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 2,
        ("a", "b", 1): 3,
        ("c",): 5,
    }
    assert document.repeated == [(("c",), 5)]
    assert read_yaml("").value is None


def test_depth_has_a_bound():
    read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(YamlTextError, match="line 1: nested more than 20 deep"):
        read_yaml("[" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 299, "0b" + "1" * 9000, "9" * 301, "1" + ":59" * 100, "1." + "5" * 300]
)
def test_a_number_has_a_bound_in_any_notation(number):
    with pytest.raises(YamlTextError, match="line 2: a number of more than 300 characters"):
        read_yaml(f"a:\n  {number}")
    assert read_yaml(f"'{number}'").value == number
    assert read_yaml("9" * 300).value == int("9" * 300)


@pytest.mark.parametrize("text", ["010", "-017", "0256265", "10:15", "1:30:00", "1:30.5", "0_7"])
def test_what_is_another_number_than_it_looks_like_is_text(text):
    assert read_yaml(f"a: {text}\nb: [{text}]").value == {"a": text, "b": [text]}


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-7", -7), ("0x1F", 31), ("0.5", 0.5)])
def test_what_looks_like_its_number_is_it(text, value):
    assert read_yaml(f"a: {text}").value == {"a": value}


def test_a_market_of_names_has_room():
    text = "".join(f"- NSE:NAME{number}\n" for number in range(120_000))
    assert len(read_yaml(text).value) == 120_000
