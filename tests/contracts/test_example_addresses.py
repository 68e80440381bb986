"""What the examples reach by default is what docker-compose.yml publishes."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.documented import ROOT, blocks

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
SIMULATED = yaml.safe_load((ROOT / "deploy/compose/simulated.yaml").read_text("utf-8"))
BUILT = {"build", "node_modules", "target"}
# what the compose file has nothing of: ClickHouse's HTTP port
OTHERS = {"8123"}


def published(service):
    """The port on the host, as it is unless the environment says otherwise."""
    (port,) = COMPOSE[service]["ports"]
    return re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-(\d+)\}:\d+", port)[1]


def addresses():
    path = SIMULATED["registry"]["url"].partition("://")[2].partition("/")[2]
    return {
        f"localhost:{published('kafka')}",
        f"http://localhost:{published('registry')}/{path}",
    }


def texts():
    """The examples, and what is typed to run them."""
    for file in sorted((ROOT / "examples").rglob("*")):
        if file.is_file() and not BUILT & set(file.parts):
            yield file.relative_to(ROOT).as_posix(), file.read_text("utf-8", "replace")
    for block in blocks(ROOT / "docs/downstream.md"):
        yield f"{block.page}:{block.line}", block.text


@pytest.mark.parametrize(
    ("where", "text"), [(where, text) for where, text in texts() if "localhost:" in text]
)
def test_defaults_are_the_addresses_of_the_compose_file(where, text):
    found = set(re.findall(r"(?:https?://)?localhost:\d+(?:/[\w./-]*\w)?", text))
    mine = {one for one in found if not set(re.findall(r"\d+", one)) & OTHERS}
    assert mine <= addresses(), where


def test_the_page_names_them_and_most_examples_have_them():
    page = (ROOT / "docs/downstream.md").read_text("utf-8")
    _, _, rest = page.partition("## Before you run them")
    section = rest.partition("\n## ")[0]
    assert all(f"| `{one}` |" in section for one in addresses())
    with_kafka = {where for where, text in texts() if f"localhost:{published('kafka')}" in text}
    folders = {Path(where).parts[1] for where in with_kafka if where.startswith("examples/")}
    assert folders >= {"clickhouse", "consumers", "flink", "iceberg", "spark"}
