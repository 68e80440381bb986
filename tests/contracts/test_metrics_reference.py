"""docs/metrics.md lists every metric that a service exports, and explains every label.

The table is written anew with `python -m tests.contracts.test_metrics_reference`.
"""

import re
from pathlib import Path

from connector.kite.feed.events import ConnectionState
from connector.kite.wire.models import Exchange
from connector.service.metrics import PREFIX, StatusCollector
from tests.support.status import CLUSTER, service_status

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/metrics.md"
AGAIN = "write it anew with `python -m tests.contracts.test_metrics_reference`"
MARKED = re.compile(r"(<!-- table: metrics -->\n)(.*?)(<!-- end -->)", re.DOTALL)
NAME = re.compile(rf"\b{PREFIX}\w+\b")


def families():
    return list(StatusCollector(lambda: service_status(cluster=CLUSTER)).collect())


def labels_of(family):
    """In the order in which the code gives them."""
    found = {label: None for sample in family.samples for label in sample.labels}
    return [label for label in found if label != "le"]


def shown(family):
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return family.name + suffix


def table():
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for family in sorted(families(), key=shown):
        labels = ", ".join(f"`{label}`" for label in labels_of(family))
        rows.append(f"| `{shown(family)}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows) + "\n"


def test_the_table_is_current():
    (found,) = MARKED.findall(PAGE.read_text("utf-8"))
    assert found[1] == table(), AGAIN


def test_every_label_is_explained():
    page = PAGE.read_text("utf-8").partition("## Labels")[2].partition("\n## ")[0]
    for label in {label for family in families() for label in labels_of(family)} | {"le"}:
        assert f"`{label}`" in page, label
    for words in (ConnectionState, [e.name for e in Exchange if e.name in page]):
        assert all(str(word) in page for word in words)


def test_whoever_reads_metrics_reads_those_that_exist():
    """The pages, the alerts and the dashboard know no others."""
    known = set()
    for family in families():
        known.add(shown(family))
        if family.type == "histogram":
            known |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    files = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    files += [f for f in (ROOT / "deploy").rglob("*") if f.suffix in {".yaml", ".json", ".md"}]
    for file in files:
        unknown = set(NAME.findall(file.read_text("utf-8"))) - known
        # a pattern such as kite_connector_cluster_*
        unknown = {name for name in unknown if not name.endswith("_")}
        assert not unknown, (file.name, unknown)


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(MARKED.sub(lambda found: found[1] + table() + found[3], text), "utf-8")
