"""What the deployment's files say of the connector, compared with the connector."""

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from connector.service.metrics import Metrics
from connector.settings.source import load
from tests.support.status import CLUSTER, service_status

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/kite-connector"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
METRIC = re.compile(r"\b(?:kite_connector|process|python)_[a-z0-9_]+\b")


def alerts() -> list[dict]:
    document = yaml.safe_load((CHART / "rules/alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Each series' name with its labels, as /metrics shows them."""
    page, _ = Metrics(lambda: service_status(cluster=CLUSTER)).expose()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(where: str) -> list[str]:
    if where == "alerts":
        return [rule["expr"] for rule in alerts()]
    board = json.loads((CHART / "dashboards/kite-connector.json").read_text())
    queries = [variable["query"] for variable in board["templating"]["list"]]
    return queries + [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize("where", ["alerts", "dashboard"])
def test_only_metrics_that_exist_are_asked_for(exported, where):
    asked = {name for expr in expressions(where) for name in METRIC.findall(expr)}
    assert asked
    assert sorted(asked - set(exported)) == []


@pytest.mark.parametrize("where", ["alerts", "dashboard"])
def test_only_labels_that_exist_are_asked_for(exported, where):
    scraped = {"namespace", "job", "pod", "instance"}
    known = scraped | {label for labels in exported.values() for label in labels}
    for expr in expressions(where):
        grouped = re.findall(r"\b(?:by|on) \(([a-z_, ]*)\)", expr)
        labels = {label for group in grouped for label in re.split(r",\s*", group) if label}
        assert labels <= known, expr
        for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", expr):
            used = set(re.findall(r"([a-z_]+)(?:=~|!=|!~|=)", matchers))
            assert used <= scraped | exported.get(name, set()), expr


def test_every_alert_has_a_runbook_section_and_the_other_way_round():
    runbook = (ROOT / "docs/alerts.md").read_text()
    sections = re.findall(r"^## (\w+)$", runbook, re.MULTILINE)
    assert sections == [rule["alert"] for rule in alerts()]


def test_every_alert_says_what_it_is():
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_generated_files_of_the_chart_are_current():
    generated = runpy.run_path(str(ROOT / "deploy/helm/generate.py"))["generated"]()
    stale = [
        str(path.relative_to(ROOT)) for path, text in generated.items() if path.read_text() != text
    ]
    assert not stale, "make chart"


def test_versions_agree():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == VERSION
    assert f"ARG VERSION={VERSION}\n" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["simulated", "live"])
def test_settings_of_the_compose_file_are_right(name):
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = compose["services"]["connector" if name == "simulated" else "connector-live"]
    environment = {
        # as compose fills it in: the default, or anything
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) or "given"
        for key, value in service.get("environment", {}).items()
    }
    settings = load(ROOT / f"deploy/compose/{name}.yaml", environment).settings
    assert settings.topics.replication_factor == 1, "there is one broker"
    assert settings.topics.prefix == {"simulated": "kite", "live": "live"}[name]


def test_env_example_names_what_the_compose_file_reads():
    example = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    read = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    assert set(given) <= set(read)
    assert given == {name: read[name] for name in given}, "defaults differ"
