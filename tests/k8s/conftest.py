"""`make k8s-test`: the chart on a running Kubernetes. Nothing else starts one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.k8s.cluster import cluster
from tests.k8s.release import ROWS, Release, release


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "k8s" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("k8s"):
                item.add_marker(pytest.mark.skip("a cluster is started by `make k8s-test` alone"))


@pytest.fixture(scope="session")
def kite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with cluster() as found, release(found, tmp_path_factory.mktemp("k8s")) as installed:
        yield installed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The measured gaps: how long the slowest slot had no tick."""
    if not ROWS:
        return
    terminalreporter.section("gaps of the slowest slot")
    terminalreporter.write_line("| case | gap | slots opened anew | ticks | repeats | lost |")
    terminalreporter.write_line("|---|---|---|---|---|---|")
    for name, verdict in ROWS:
        terminalreporter.write_line(
            f"| {name} | {verdict.slowest_seconds:.2f} s | {sum(verdict.sessions.values())} "
            f"| {verdict.ticks} | {verdict.repeats} | {verdict.lost} |"
        )
