"""A schema registry inside this process, for the demo and the tests: schemas live in memory.

The part of Confluent's API that clients need to register, look up and decode. It checks NO
compatibility: `PUT /config` is remembered and answered, and means nothing.
"""

from __future__ import annotations

import json
from typing import Any, Self

from aiohttp import web

# Confluent's error codes, by which clients tell one 404 from another
_SUBJECT_NOT_FOUND = 40401
_VERSION_NOT_FOUND = 40402
_SCHEMA_NOT_FOUND = 40403
_INVALID_SCHEMA = 42201


class EmbeddedRegistry:
    """An HTTP server on loopback; an async context manager.

    A schema has one id, whatever the subject: equal JSON, equal id.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._schemas: list[str] = []  # by id less 1
        self._ids: dict[str, int] = {}  # canonical JSON → id
        self._subjects: dict[str, list[int]] = {}  # ids, by version less 1
        self._compatibility: dict[str, str] = {}  # "" is the global one
        self._runner: web.AppRunner | None = None  # None: not listening

    async def start(self) -> None:
        """Listen on the port of the constructor.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application(middlewares=[_json_errors])
        application.add_routes(
            [
                web.get("/subjects", self._list_subjects),
                web.post("/subjects/{subject}", self._look_up),
                web.get("/subjects/{subject}/versions", self._list_versions),
                web.post("/subjects/{subject}/versions", self._register),
                web.get("/subjects/{subject}/versions/{version}", self._get_version),
                web.get("/schemas/ids/{id}", self._get_schema),
                web.get("/schemas/types", self._get_types),
                web.post("/compatibility/subjects/{subject}/versions", self._compatible),
                web.post("/compatibility/subjects/{subject}/versions/{version}", self._compatible),
                web.get("/config", self._get_config),
                web.put("/config", self._put_config),
                web.get("/config/{subject}", self._get_config),
                web.put("/config/{subject}", self._put_config),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()  # the port is taken, and nothing of it is to stay
            raise
        self._runner = runner

    async def close(self) -> None:
        """Stop listening; the schemas stay for the next `start`."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The URL at which it listens, for `registry.url`."""
        if self._runner is None:
            raise RuntimeError("the embedded registry is not running")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    @property
    def subjects(self) -> dict[str, list[int]]:
        """The schema ids of each subject, oldest version first."""
        return {subject: list(ids) for subject, ids in self._subjects.items()}

    async def _list_subjects(self, request: web.Request) -> web.Response:
        prefix = request.query.get("subjectPrefix", "")
        return _answer([name for name in self._subjects if name.startswith(prefix)])

    async def _list_versions(self, request: web.Request) -> web.Response:
        return _answer(list(range(1, len(self._versions(request)) + 1)))

    async def _get_version(self, request: web.Request) -> web.Response:
        ids, wanted = self._versions(request), request.match_info["version"]
        if wanted == "latest":
            number = len(ids)
        elif wanted.isdecimal() and 1 <= int(wanted) <= len(ids):
            number = int(wanted)
        else:
            raise _Problem(404, _VERSION_NOT_FOUND, f"Version {wanted} not found.")
        return _answer(self._described(request.match_info["subject"], number))

    async def _get_schema(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        if not wanted.isdecimal() or not 1 <= int(wanted) <= len(self._schemas):
            raise _Problem(404, _SCHEMA_NOT_FOUND, f"Schema {wanted} not found")
        return _answer({"schema": self._schemas[int(wanted) - 1]})

    async def _get_types(self, _request: web.Request) -> web.Response:
        return _answer(["AVRO"])

    async def _register(self, request: web.Request) -> web.Response:
        canonical, text = await _schema_of(request)
        subject = request.match_info["subject"]
        schema_id = self._ids.get(canonical)
        if schema_id is None:
            self._schemas.append(text)
            schema_id = self._ids[canonical] = len(self._schemas)
        versions = self._subjects.setdefault(subject, [])
        # registered twice it is the same version, as with Confluent's
        if schema_id not in versions:
            versions.append(schema_id)
        return _answer({"id": schema_id})

    async def _look_up(self, request: web.Request) -> web.Response:
        canonical, _ = await _schema_of(request)
        versions = self._versions(request)
        schema_id = self._ids.get(canonical)
        if schema_id not in versions:
            raise _Problem(404, _SCHEMA_NOT_FOUND, "Schema not found")
        return _answer(
            self._described(request.match_info["subject"], versions.index(schema_id) + 1)
        )

    async def _compatible(self, request: web.Request) -> web.Response:
        await _schema_of(request)
        self._versions(request)
        return _answer({"is_compatible": True})

    async def _get_config(self, request: web.Request) -> web.Response:
        subject = request.match_info.get("subject", "")
        level = self._compatibility.get(subject) or self._compatibility.get("", "NONE")
        return _answer({"compatibilityLevel": level})

    async def _put_config(self, request: web.Request) -> web.Response:
        body = await _body_of(request)
        self._compatibility[request.match_info.get("subject", "")] = str(body["compatibility"])
        return _answer({"compatibility": str(body["compatibility"])})

    def _versions(self, request: web.Request) -> list[int]:
        subject = request.match_info["subject"]
        try:
            return self._subjects[subject]
        except KeyError:
            raise _Problem(404, _SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.") from None

    def _described(self, subject: str, version: int) -> dict[str, Any]:
        schema_id = self._subjects[subject][version - 1]
        return {
            "subject": subject,
            "version": version,
            "id": schema_id,
            "schema": self._schemas[schema_id - 1],
        }


class _Problem(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


@web.middleware
async def _json_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except _Problem as problem:
        return _answer({"error_code": problem.code, "message": problem.message}, problem.status)
    except web.HTTPException as exc:
        return _answer({"error_code": exc.status, "message": f"HTTP {exc.status}"}, exc.status)
    return response


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.json_response(
        body, status=status, content_type="application/vnd.schemaregistry.v1+json"
    )


async def _body_of(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError):  # the latter of brackets without end
        body = None
    if not isinstance(body, dict):
        raise _Problem(422, _INVALID_SCHEMA, "The body is not a JSON object")
    return body


async def _schema_of(request: web.Request) -> tuple[str, str]:
    """Return the schema in a request: (canonical JSON, the text as sent)."""
    text = (await _body_of(request)).get("schema")
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        parsed = None
    if parsed is None or not isinstance(text, str):
        raise _Problem(422, _INVALID_SCHEMA, "Invalid schema: not JSON")
    # other spaces and other orders of keys make no other schema
    return json.dumps(parsed, sort_keys=True, separators=(",", ":")), text
