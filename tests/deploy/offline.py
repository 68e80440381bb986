"""Runs inside .venv-deploy: Helm as a library, and the Kubernetes schemas. Requests and answers
are JSON lists on stdin and stdout, so that one process serves a whole test session."""

import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from helm_python import chart as helm

CHART = str(Path(__file__).parents[2] / "deploy/helm/kite-connector")


def answer(request):
    try:
        return {"result": OPERATIONS[request.pop("do")](**request)}
    except Exception as exc:  # noqa: BLE001 - every failure is an answer
        return {"error": f"{type(exc).__name__}: {exc}"}


def lint(values):
    report = helm.lint(CHART, values, strict=True)
    bad = [message for message in report["messages"] if message["severity"] > 1]
    return {"errors": report["errors"], "bad": bad}


def render(values, release="kite", namespace="market"):
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        return chart.render(values, name=release, namespace=namespace)


def validate(text, version):
    """Kinds without a schema, and the errors of the others."""
    unknown, errors = [], []
    for document in yaml.safe_load_all(text):
        if document is None:
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(document["kind"])
        except kubernetes_validate.ValidationError as exc:
            path = ".".join(map(str, exc.path))
            errors.append(f"{document['kind']} {path}: {exc.message}")
    return {"unknown": unknown, "errors": errors}


def package(destination):
    return helm.package(CHART, destination=destination)


OPERATIONS = {"lint": lint, "render": render, "validate": validate, "package": package}

json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)
