"""What benchmarks are built on: an earlier tree runs its own code, a figure tells its aim."""

import os
import subprocess
import sys

import pytest

from tests.bench.__main__ import missed_by, told
from tests.bench.baseline import join_packages


def test_a_package_in_another_folder_is_that_of_its_own_tree(tmp_path):
    (tmp_path / "connector").mkdir()
    (tmp_path / "connector/__init__.py").touch()
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/__init__.py").write_text("OWN = True\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.setuptools.package-dir]\nconnector = "connector"\n"connector.schemas" = "schemas"\n'
    )

    for _ in range(2):  # a tree that stands from another day is joined too
        join_packages(tmp_path)

    # the installed tree has a `connector.schemas`, which another tree's program would find
    program = "import connector.schemas; print(connector.schemas.OWN)"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.stdout == "True\n", answer.stderr


@pytest.mark.parametrize(
    ("figure", "by"),
    [
        ({"value": 3.0}, ""),
        ({"value": 2.0, "reach": 2.0}, ""),
        ({"value": 3.0, "reach": 2.0}, "50%"),
        ({"value": 300, "reach": 400, "higher_is_better": True}, "25%"),
        ({"value": 500, "reach": 400, "higher_is_better": True}, ""),
        ({"value": 7, "reach": 0}, "7"),
    ],
)
def test_a_figure_says_by_how_much_it_misses(figure, by):
    assert missed_by(figure) == by
    line = told({"name": "what", "unit": "µs", **figure})
    assert (f"missed by {by}" in line) == bool(by)
    assert ("to reach" in line) == ("reach" in figure)
