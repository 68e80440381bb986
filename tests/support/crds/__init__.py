"""Validates resources of other projects against the schemas beside, as an API server would."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_SCHEMAS = {
    path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("*.json")
}


def faults(document: dict[str, Any]) -> list[str]:
    """What an API server has against a resource; an unknown field counts, as with kubectl.

    Rules in CEL (`x-kubernetes-validations`) are not evaluated.
    """
    known = _SCHEMAS[document["kind"]]
    found = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in Draft202012Validator(_closed(known["schema"], top=True)).iter_errors(document)
    ]
    if document["apiVersion"] != f"{known['group']}/{known['version']}":
        found.append(f"apiVersion: {document['apiVersion']}")
    return found


def _closed(schema: Any, *, top: bool = False) -> Any:
    """The schema, with no other fields than those it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(each) for name, each in value.items()}
        if key == "properties"
        else _closed(value)
        for key, value in schema.items()
    }
    if top:  # metadata is Kubernetes' own, of which a CRD says nothing
        closed["properties"]["metadata"] = {"type": "object"}
    if "properties" in schema and "additionalProperties" not in schema:
        closed["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return closed
