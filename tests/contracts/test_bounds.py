"""The table of bounds in docs/security.md: what it states is what the code has, and is tested."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import pytest
import yaml

from connector.settings.models import Settings
from connector.settings.paths import item_of, model_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
HEADER = ["what comes from outside", "bound", "kept in", "beyond it", "tested by"]

UNITS = {
    "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    "ms": 0.001, "s": 1, "hours": 3600,
}  # fmt: skip
# what a constant or setting counts in, by the end of its name
SUFFIXES = {"_bytes": 1, "_kib": 2**10, "_mib": 2**20, "_ms": 0.001, "_seconds": 1, "_hours": 3600}


class Bound(NamedTuple):
    source: str
    bound: str
    kept_in: str
    beyond: str
    tested_by: str


def table(page: str) -> list[Bound]:
    text = page.partition("<!-- bounds: begin -->")[2].partition("<!-- bounds: end -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().split("\n")
    ]
    header, _, *body = rows
    assert header == HEADER
    return [Bound(*row) for row in body]


BOUNDS = table(PAGE.read_text())


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def stated(bound: str) -> float:
    """A bound as the table writes it, in bytes, in seconds, or in what it counts."""
    number, *unit = bound.split()
    return float(number) * (UNITS.get(unit[0], 1) if unit else 1)


def default_of(setting: str) -> float:
    """Of a setting by its name; accounts.connections is that of each account."""
    *above, last = setting.split(".")
    model = Settings
    for part in above:
        annotation = model.model_fields[part].annotation
        model = model_of(annotation) or model_of(item_of(annotation))
    return model.model_fields[last].default


def kept(name: str) -> float:
    """The value that the code has, in bytes, in seconds, or in what it counts."""
    value = resolve_name(name) if name.startswith("connector.") else default_of(name)
    assert isinstance(value, int | float), f"{name} is {value!r}"
    for suffix, factor in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return value * factor
    return value


@cache
def names_of_tests(file: str) -> set[str]:
    """Names of a file's tests: `test_it`, `TestClass::test_it`."""
    names = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{item.name}"
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return {name for name in names if name.split("::")[-1].startswith("test")}


@pytest.mark.parametrize("row", BOUNDS, ids=lambda row: row.source)
def test_a_bound_is_the_codes_and_tested(row):
    (name,) = quoted(row.kept_in)
    assert kept(name) == pytest.approx(stated(row.bound)), f"{name} is another value"
    assert row.beyond
    assert quoted(row.tested_by)
    for test in quoted(row.tested_by):
        file, _, what = test.partition("::")
        assert what in names_of_tests(file), f"no test {test}"


@pytest.mark.parametrize("column", ["source", "kept_in"])
def test_each_bound_stands_once(column):
    counted = Counter(getattr(row, column) for row in BOUNDS)
    assert [name for name, count in counted.items() if count > 1] == []


def memory_rows() -> list[list[str]]:
    text = PAGE.read_text().partition("<!-- memory: begin -->")[2]
    lines = text.partition("<!-- memory: end -->")[0].strip().split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_bounds_of_memory_fit_what_the_chart_allows():
    values = yaml.safe_load((ROOT / "deploy/helm/kite-connector/values.yaml").read_text())
    allowed = int(values["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert sum(int(mebibytes) for _, mebibytes, _ in memory_rows()) <= allowed


@pytest.mark.parametrize("row", memory_rows(), ids=lambda row: row[0])
def test_a_share_of_memory_is_the_codes_or_measured(row):
    _, mebibytes, origin = row
    if not origin.startswith("measured"):
        factor, name = re.fullmatch(r"(\d+) × `([\w.]+)`", origin).groups()
        assert int(mebibytes) * 2**20 == int(factor) * kept(name)


def test_the_units_of_the_table():
    assert stated("4 MiB") == 4 * 2**20
    assert stated("50 ms") == 0.05
    assert stated("4096 instruments a slot") == stated("4096") == 4096
    assert kept("spool.max_mib") == 512 * 2**20
