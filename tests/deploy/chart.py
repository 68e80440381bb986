"""The chart as tests see it: rendered by Helm, which runs in a virtual environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/kite-connector"
TOOLS = ROOT / ".venv-deploy/bin"
EXAMPLES = ["values.yaml", *sorted(path.name for path in CHART.glob("values-*.yaml"))]


def tool(name: str) -> str:
    """Path of a tool; without it the tests are skipped, or fail where they are required."""
    path = TOOLS / name
    if path.exists():
        return str(path)
    message = f"{path} is missing: make deploy-test makes it"
    if os.environ.get("REQUIRE_INTEGRATION") == "1":
        pytest.fail(message)
    pytest.skip(message)


def ask(*requests: dict) -> list[dict]:
    """Answers of offline.py: {"result": …} or {"error": …} each."""
    done = subprocess.run(
        [tool("python"), str(Path(__file__).with_name("offline.py"))],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def values_of(example: str) -> dict:
    return yaml.safe_load((CHART / example).read_text())


def render(values: dict) -> list[dict]:
    """The objects that Helm makes of these values."""
    return objects(text_of(values))


def text_of(values: dict) -> str:
    """The same as one YAML text."""
    (answer,) = ask({"do": "render", "values": values})
    assert "result" in answer, answer["error"]
    return joined(answer["result"])


def joined(templates: dict[str, str]) -> str:
    return "\n---\n".join(
        text for name, text in sorted(templates.items()) if name.endswith(".yaml") and text.strip()
    )


def objects(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict], kind: str, name: str | None = None) -> dict:
    """The only object of a kind (and name)."""
    found = [
        document
        for document in documents
        if document["kind"] == kind and name in (None, document["metadata"]["name"])
    ]
    assert len(found) == 1, [(d["kind"], d["metadata"]["name"]) for d in found]
    return found[0]
