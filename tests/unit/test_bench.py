"""What benchmarks are built on: an earlier tree runs its own code, figures tell and are drawn."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.bench.__main__ import missed_by, told
from tests.bench.baseline import join_packages
from tests.bench.plots import draw
from tests.bench.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart, linear, logarithmic

SVG = "{http://www.w3.org/2000/svg}"


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


def test_plots_are_drawn_of_the_figures_that_there_are(tmp_path):
    latency = {"name": "… Rust manager, p50", "packets": 1, "curve": {"0.5": 48, "0.999": 900}}
    replicas = [{"name": f"{n}: CPU of all", "x": n, "value": 10.0 * n} for n in (1, 2)]

    assert draw([latency, *replicas, {"name": "other", "value": 1}], tmp_path) == [
        "bench-latency-1.svg", "bench-replicas-cpu.svg",
    ]  # fmt: skip

    for path in tmp_path.iterdir():
        document = ElementTree.parse(path).getroot()
        (ground,) = (one for one in document.iter(f"{SVG}rect"))
        assert ground.get("class") == "ground"
        assert "prefers-color-scheme:dark" in path.read_text()
    words = [one.text for one in document.iter(f"{SVG}text")]
    assert {"replicas", "% of a core", "1", "2"} <= set(words)


def test_points_lie_where_the_axes_say():
    x, y = logarithmic("x", [2, 900]), linear("y", [0.3, 9.0])
    assert x.ticks == [1, 10, 100, 1000]
    assert [x.place(at) for at in (1, 10, 1000)] == pytest.approx([0, 1 / 3, 1])
    assert y.ticks == [0, 2.5, 5, 7.5, 10]
    assert y.place(5.0) == 0.5

    document = ElementTree.fromstring(chart("<title>", x, y, {"a & b": [(1, 0), (1000, 10)]}))
    low, high = (
        (float(one.get("cx", "")), float(one.get("cy", "")))
        for one in document.iter(f"{SVG}circle")
    )
    assert low == (LEFT, HEIGHT - BOTTOM)
    assert high == (WIDTH - RIGHT, TOP)
    assert "a & b" in [one.text for one in document.iter(f"{SVG}text")]
