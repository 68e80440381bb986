"""The dashboard's panels, evaluated by a real Prometheus over a running demo."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from tests.deploy.chart import ROOT, tool

pytestmark = pytest.mark.deploy

BOARD = json.loads((ROOT / "deploy/helm/kite-connector/dashboards/kite-connector.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose/prometheus.yaml").read_text())
LABELS = {"namespace": "compose", "job": "kite-connector"}
"""Those that the compose file's Prometheus gives to every series."""
SCRAPE_SECONDS = 0.5
SAMPLES = 12
"""A rate needs two; what a command or an order brings comes within some seconds."""
PATIENCE_SECONDS = 45.0


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def running(*command, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def scraping(target):
    """The compose file's configuration, but for how replicas are found and how often asked."""
    every = f"{int(SCRAPE_SECONDS * 1000)}ms"
    (job,) = COMPOSE["scrape_configs"]
    found = {name: value for name, value in job.items() if name != "dns_sd_configs"}
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every},
        "scrape_configs": [{**found, "static_configs": [{"targets": [target]}]}],
    }


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus that scrapes a demo; yields a function that evaluates an expression."""
    server, folder = tool("prometheus"), tmp_path_factory.mktemp("prometheus")
    demo_command = [sys.executable, "-m", "connector", "demo", "--duration", "120"]
    with running(*demo_command, stderr=subprocess.DEVNULL) as demo:
        target = urllib.parse.urlsplit(demo.stdout.readline().split()[1]).netloc
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(scraping(target)))
        port = free_port()
        with running(
            server,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ):

            def evaluate(expression):
                query = urllib.parse.urlencode({"query": expression})
                url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]["result"]

            wait_for_samples(evaluate)
            yield evaluate


def wait_for_samples(evaluate):
    wanted = f'count_over_time(kite_connector_ready{{job="{LABELS["job"]}"}}[5m]) >= {SAMPLES}'
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if evaluate(wanted):
                return
        time.sleep(0.2)
    pytest.fail("Prometheus has not scraped the demo")


def in_dashboard(expression):
    """The expression as the dashboard's viewer sends it."""
    for name, value in {
        "$namespace": LABELS["namespace"],
        "$job": LABELS["job"],
        "$__rate_interval": "5s",
        "$__interval": "1s",
        "$__range": "1m",
    }.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_data_and_says_what_it_shows(prometheus, panel):
    assert len(panel.get("description", "").split()) >= 4
    for target in panel["targets"]:
        expression = in_dashboard(target["expr"])
        assert prometheus(expression), f"{expression} is empty"


@pytest.mark.parametrize("name", ["namespace", "job"])
def test_the_choices_of_the_dashboard_have_values(prometheus, name):
    (choice,) = [one for one in BOARD["templating"]["list"] if one["name"] == name]
    series = in_dashboard(choice["query"].partition("(")[2].rpartition(",")[0])
    assert {one["metric"][name] for one in prometheus(series)} == {LABELS[name]}


def test_prometheus_accepts_the_compose_files_configuration():
    file = ROOT / "deploy/compose/prometheus.yaml"
    subprocess.run([tool("promtool"), "check", "config", str(file)], check=True)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    (job,) = COMPOSE["scrape_configs"]
    assert all(set(one["names"]) <= set(services) for one in job["dns_sd_configs"])
