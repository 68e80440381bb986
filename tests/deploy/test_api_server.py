"""The chart's objects, judged by a real API server: `KUBE_API_URL=https://… KUBE_API_TOKEN=… make
deploy-test`. Makes a namespace for itself that enforces the restricted profile, and removes it.

All requests but those for the namespace are dry runs: nothing is started.
"""

import asyncio
import os
import uuid

import aiohttp
import pytest

from tests.deploy.chart import EXAMPLES, ask, joined, objects, one, values_of

pytestmark = pytest.mark.deploy

PATHS = {
    "ConfigMap": "api/v1",
    "Service": "api/v1",
    "ServiceAccount": "api/v1",
    "Pod": "api/v1",
    "StatefulSet": "apis/apps/v1",
    "Deployment": "apis/apps/v1",
    "NetworkPolicy": "apis/networking.k8s.io/v1",
    "PodDisruptionBudget": "apis/policy/v1",
}
CUSTOM = {"ServiceMonitor", "PrometheusRule"}


@pytest.fixture
async def server():
    url = os.environ.get("KUBE_API_URL")
    if not url:
        pytest.skip("no API server: KUBE_API_URL is not set")
    headers = {"Authorization": f"Bearer {os.environ.get('KUBE_API_TOKEN', '')}"}
    # whose certificate it has does not matter: nothing of value is sent
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        yield session


@pytest.fixture
async def namespace(server):
    name = f"kite-test-{uuid.uuid4().hex[:8]}"
    body = {
        "metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }
    }
    async with server.post("/api/v1/namespaces", json=body) as answer:
        assert answer.status == 201, await answer.text()
    yield name
    async with server.delete(f"/api/v1/namespaces/{name}") as answer:
        assert answer.status in {200, 202}, await answer.text()


def collection(kind: str, namespace: str) -> str:
    plural = {"NetworkPolicy": "networkpolicies"}.get(kind, f"{kind.lower()}s")
    return f"/{PATHS[kind]}/namespaces/{namespace}/{plural}"


async def post(server, namespace: str, document: dict, *, dry: bool = True) -> str:
    """What the server has against an object; empty when it would take it."""
    url = collection(document["kind"], namespace) + "?fieldValidation=Strict"
    async with server.post(url + ("&dryRun=All" if dry else ""), json=document) as answer:
        if answer.status == 201:
            # what it warns of (an unknown profile, something deprecated) counts too
            return "; ".join(answer.headers.getall("Warning", []))
        return (await answer.json())["message"]


async def test_the_server_takes_every_object(server, namespace):
    answers = ask(
        *({"do": "render", "values": values_of(name), "namespace": namespace} for name in EXAMPLES)
    )
    problems = []
    for name, answer in zip(EXAMPLES, answers, strict=True):
        documents = [d for d in objects(joined(answer["result"])) if d["kind"] not in CUSTOM]
        # admission looks accounts, priorities and limits up: the account has to be there
        account = one(documents, "ServiceAccount")
        await post(server, namespace, account, dry=False)
        for document in documents:
            if document is account:
                continue
            spec = document.get("spec", {}).get("template", document).get("spec", {})
            spec.pop("priorityClassName", None)
            problems += [
                f"{name} {document['kind']}: {problem}"
                for problem in [await post(server, namespace, document)]
                if problem
            ]
            if document["kind"] in {"StatefulSet", "Deployment"}:
                # the restricted profile is enforced on pods, not on what makes them
                template = document["spec"]["template"]
                pod = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {**template["metadata"], "name": "one"},
                    "spec": template["spec"],
                }
                claims = document["spec"].get("volumeClaimTemplates", [])
                pod["spec"]["volumes"] += [
                    {
                        "name": claim["metadata"]["name"],
                        "persistentVolumeClaim": {"claimName": "one"},
                    }
                    for claim in claims
                ]
                problem = await post(server, namespace, pod)
                problems += [f"{name} Pod of {document['kind']}: {problem}"] if problem else []
    assert not problems, "\n".join(problems)


async def test_the_server_would_notice(server, namespace):
    """What is tested above is worth something: wrong objects are refused."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await post(server, namespace, account, dry=False)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "x", "image": "x"}]},
    }
    refused, misspelt = await asyncio.gather(
        post(server, namespace, pod),
        post(
            server,
            namespace,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}},
        ),
    )
    assert "violates PodSecurity" in refused
    assert "dta" in misspelt
