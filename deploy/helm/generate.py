"""Writes what the chart has in common with the connector: `make chart`.

    values.schema.json  values.schema.yaml, with the settings' own schema in its place
    README.md           the table of values, from the comments in values.yaml
    templates/_secret_variables.tpl
                        the variables that extraEnv refuses, each with what to do instead

With --check nothing is written; exit code 1 when a file is not what it would be.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from connector.control.plan import WantedWatchlists
from connector.settings.models import Settings
from connector.settings.paths import is_secret, leaves, variable_of

HERE = Path(__file__).parent
CHART = HERE / "kite-connector"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"

CHART_SETS = (
    # these come from the chart's other values, or have to fit its mounts, ports and probes
    "accounts",
    "http",
    "spool.directory",
    "spool.ephemeral",
    "cluster.instance",
    "kafka.sasl_username",
    "kafka.sasl_username_file",
    "kafka.sasl_password",
    "kafka.sasl_password_file",
    "kafka.oauth.client_secret",
    "kafka.ssl_ca_file",
    "kafka.ssl_certificate_file",
    "kafka.ssl_key_file",
    "kafka.ssl_key_password",
    "kafka.ssl_key_password_file",
    "registry.username",
    "registry.username_file",
    "registry.password",
    "registry.password_file",
    "registry.oauth.client_secret",
    "registry.ca_file",
)
NO_CREDENTIALS = {"not": {"pattern": r"password|secret|token|key\.pem|jaas|user\.info"}}
"""librdkafka's properties that hold secrets: a ConfigMap is no place for them."""


def settings_schema() -> dict[str, Any]:
    """The settings' schema without what the chart sets, as one tree without references."""
    whole = Settings.model_json_schema()
    tree = _inlined(whole, whole["$defs"])
    for path in CHART_SETS:
        *above, name = path.split(".")
        here = tree
        for part in above:
            here = here["properties"][part]
        del here["properties"][name]
        if name in here.get("required", ()):
            here["required"].remove(name)
    tree["properties"]["kafka"]["properties"]["client"]["propertyNames"] = NO_CREDENTIALS
    return tree


INSTEAD = {
    # beginning of a variable that would hold a secret: the chart's way; the longest one counts
    "KITE_ACCOUNTS": "name a Secret in accounts[].secret",
    "KITE_KAFKA": "name a Secret in kafka.credentials.secret",
    "KITE_KAFKA__CLIENT": "give properties without secrets in settings.kafka.client",
    "KITE_KAFKA__OAUTH": "name a Secret in kafka.oauth.secret",
    "KITE_KAFKA__SSL_KEY_PASSWORD": "name the Secret's key in kafka.tls.keyPasswordKey",
    "KITE_REGISTRY": "name a Secret in registry.credentials.secret",
    "KITE_REGISTRY__OAUTH": "name a Secret in registry.oauth.secret",
}


def secret_variables() -> dict[str, str]:
    """What to do in place of each variable that would put a secret into the pod's environment.

    By a pattern; a section that is given whole, as JSON, may hold its secrets too.
    """
    secret = [path for path in leaves(Settings) if is_secret(path)]
    paths = {path[:length] for path in secret for length in range(1, len(path) + 1)}
    names = {variable_of(path) for path in paths} | {"KITE_KAFKA__CLIENT"}
    return {
        f"^{name.replace('__0', '__[0-9]+')}$": INSTEAD[
            max((begin for begin in INSTEAD if name.startswith(begin)), key=len)
        ]
        for name in sorted(names)
    }


def secret_variables_template() -> str:
    """Return a template with these, as YAML."""
    rows = [
        {"pattern": pattern, "instead": instead} for pattern, instead in secret_variables().items()
    ]
    return (
        "{{/* made by generate.py: what extraEnv refuses */}}\n"
        '{{- define "kite-connector.secretVariables" -}}\n'
        f"{yaml.safe_dump(rows, sort_keys=False, width=1000)}"
        "{{- end -}}\n"
    )


def values_schema() -> dict[str, Any]:
    """The whole schema of the chart's values."""
    schema: dict[str, Any] = yaml.safe_load((HERE / "values.schema.yaml").read_text())
    schema["properties"]["settings"] = settings_schema()
    whole = WantedWatchlists.model_json_schema()
    file = _inlined(whole, whole["$defs"])["properties"]["watchlists"]
    schema["properties"]["watchlists"]["properties"]["file"] = file
    rules = schema["properties"]["monitoring"]["properties"]["rules"]["properties"]
    rules["disabled"]["items"] = {"enum": alert_names()}
    return schema


def alert_names() -> list[str]:
    """Every alert that the chart has."""
    document = yaml.safe_load((CHART / "rules/alerts.yaml").read_text())
    return [rule["alert"] for group in document["groups"] for rule in group["rules"]]


def values_table() -> str:
    """A row for each value: its name, default and the comment above it."""
    text = (CHART / "values.yaml").read_text()
    lines = text.splitlines()
    rows = ["| value | default | |", "|---|---|---|"]

    def walk(node: yaml.MappingNode, defaults: dict[str, Any], path: str) -> None:
        for key, value in node.value:
            name = f"{path}{key.value}"
            comment = _comment_above(lines, key.start_mark.line)
            if isinstance(value, yaml.MappingNode) and _has_comments(lines, value):
                if comment:
                    rows.append(f"| **`{name}`** | | {comment} |")
                walk(value, defaults[key.value], f"{name}.")
                continue
            if not comment:
                raise SystemExit(f"values.yaml: {name} has no comment")
            default = json.dumps(defaults[key.value])
            rows.append(f"| `{name}` | `{default}` | {comment} |")

    walk(yaml.compose(text), yaml.safe_load(text), "")
    return "\n".join(rows)


def _has_comments(lines: list[str], node: yaml.MappingNode) -> bool:
    """Whether what is inside is described one by one, or as a whole."""
    return any(
        _comment_above(lines, key.start_mark.line)
        or (isinstance(value, yaml.MappingNode) and _has_comments(lines, value))
        for key, value in node.value
    )


def _comment_above(lines: list[str], line: int) -> str:
    comment: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return " ".join(comment).replace("|", "\\|")


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """A copy without $ref, and without what a validator does not need."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        # what stands beside a reference (description, default) wins over the target's own
        return _inlined({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    return {
        key: {name: _inlined(value, definitions) for name, value in node[key].items()}
        if key == "properties"  # names of settings, one of which is `format`
        else _inlined(value, definitions)
        for key, value in node.items()
        if key not in {"$defs", "title", "default", "format", "writeOnly"}
    }


def generated() -> dict[Path, str]:
    """Every generated file with its content."""
    readme = CHART / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        CHART / "values.schema.json": json.dumps(values_schema(), indent=2) + "\n",
        CHART / "templates/_secret_variables.tpl": secret_variables_template(),
        readme: f"{before}{BEGIN}\n{values_table()}\n{END}{after}",
    }


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path.relative_to(HERE.parents[1])} is not current: make chart\n")
        else:
            path.write_text(text)
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
