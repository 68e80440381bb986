"""A client of the part of Confluent's registry API that the connector needs, over aiohttp.

Whatever a registry, or something in its place, answers: each request has a deadline and a bound,
and words that come from there are stripped of secrets and cut before anybody sees them. An answer
that no registry gives, such as a gateway's page or an id that is none, counts as having reached no
registry: waiting may help.

Source: docs.confluent.io/platform/current/schema-registry/develop/api.html.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlsplit

import aiohttp

from connector.errors import RegistryError, RegistryUnreachableError, SchemaIncompatibleError
from connector.kafka.bearer_tokens import BearerTokens, NoTokenError
from connector.kafka.https_endpoint import HttpAnswer, HttpsEndpoint, NoAnswerError, session
from connector.redaction import Redactor, cut
from connector.settings.models import RegistrySettings
from connector.settings.secret_files import fresh

MAX_ANSWER_BYTES: Final = 2**20
"""An answer may have so many bytes, unpacked: the longest schema of ours has 7 KiB."""
MAX_SCHEMA_ID: Final = 2**31 - 1
"""The framing has four bytes for it, and readers take them for a signed number."""
MAX_VERSIONS: Final = 10_000
"""A subject may have so many versions."""

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_OK = 200
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_CONFLICT = 409
_SERVER_ERROR = 500
_PASSING = frozenset({408, 425, 429})
"""The statuses below 500 that say: not now."""
_ADVICE = {
    _UNAUTHORIZED: ": check registry.username and registry.password, or registry.oauth: whether "
    "this registry takes tokens of that endpoint and scope",
    403: ": this account lacks the right; where it may only read, let another one register the "
    "schemas and set registry.register_schemas to false",
}


class Registered(NamedTuple):
    """A schema that a subject has."""

    schema_id: int
    version: int | None


class _Answer(NamedTuple):
    status: int
    document: Any
    """What the JSON holds; None where it is no JSON."""
    text: str
    """The beginning of the answer, fit to be shown."""
    retry_after_seconds: float = 0.0
    """How long it asks to be left alone."""


class RegistryClient:
    """A registry over HTTP; `async with` opens and closes its connections, as often as needed.

    Args:
        settings: where it is, and who we are to it.
        timeout_seconds: for one request, to the last byte of its answer.

    Raises:
        SettingsError: `ca_file` is of no use.
    """

    def __init__(self, settings: RegistrySettings, *, timeout_seconds: float = 10.0) -> None:
        self._endpoint = HttpsEndpoint(
            settings.url.rstrip("/"), "registry.url", settings.ca_file, "registry.ca_file"
        )
        self._timeout_seconds = timeout_seconds
        self._known = Redactor()  # what is secret without tokens
        self._tokens: BearerTokens | None = None  # None: a password, or nothing, lets us in
        self._headers = {
            "Accept": f"{_CONTENT_TYPE}, application/json",
            "Content-Type": _CONTENT_TYPE,
        }
        if settings.username is not None:
            # as the file has it now: a client lives for one look, and the password may have changed
            known = settings.password.get_secret_value() if settings.password else ""
            password = fresh(known, settings.password_file)
            pair = f"{fresh(settings.username, settings.username_file)}:{password}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            self._known.hide(password, pair)
        elif settings.oauth.given():
            self._tokens = BearerTokens(settings.oauth, "registry.oauth")
            # Confluent Cloud's names, as the client in confluent-kafka 2.15 sends them
            cloud = {
                "target-sr-cluster": settings.oauth.logical_cluster,
                "Confluent-Identity-Pool-Id": settings.oauth.identity_pool,
            }
            # only what is set: another vendor's registry need not see them
            self._headers |= {name: value for name, value in cloud.items() if value is not None}
        self._http: aiohttp.ClientSession | None = None  # None: not open

    async def __aenter__(self) -> Self:
        self._http = session()
        return self

    async def __aexit__(self, *_: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @property
    def _redactor(self) -> Redactor:
        return self._known if self._tokens is None else self._tokens.redactor

    async def get_compatibility(self, subject: str) -> str | None:
        """A subject's own level; None where it has none, which some registries do not tell."""
        answer = await self._ask(subject, "GET", f"/config/{_quoted(subject)}", missing=True)
        if answer is None:
            return None
        level = answer.document.get("compatibilityLevel") if _is_object(answer) else None
        if not isinstance(level, str):
            raise self._no_registry(subject, answer)
        return level

    async def set_compatibility(self, subject: str, level: str) -> None:
        """Set a subject's level; SchemaIncompatibleError where somebody else is doing that."""
        path = f"/config/{_quoted(subject)}"
        answer = await self._ask(subject, "PUT", path, {"compatibility": level})
        if not _is_object(answer):
            raise self._no_registry(subject, answer)

    async def register_schema(self, subject: str, schema: str) -> int:
        """Register an Avro schema, or find it; returns its id."""
        path = f"/subjects/{_quoted(subject)}/versions"
        answer = await self._ask(subject, "POST", path, {"schema": schema})
        return self._id(subject, answer)

    async def lookup_schema(self, subject: str, schema: str) -> Registered | None:
        """Return a schema's id and version in a subject; None where it does not have it."""
        path = f"/subjects/{_quoted(subject)}"
        answer = await self._ask(subject, "POST", path, {"schema": schema}, missing=True)
        if answer is None:
            return None
        schema_id = self._id(subject, answer)
        version = answer.document.get("version")
        return Registered(schema_id, version if _is_id(version) else None)

    async def get_versions(self, subject: str) -> list[int]:
        """The versions of a subject, oldest first; none where there is no such subject."""
        path = f"/subjects/{_quoted(subject)}/versions"
        answer = await self._ask(subject, "GET", path, missing=True)
        if answer is None:
            return []
        versions = answer.document
        if (
            not isinstance(versions, list)
            or len(versions) > MAX_VERSIONS
            or not all(map(_is_id, versions))
        ):
            raise self._no_registry(subject, answer)
        return versions

    async def get_version(self, subject: str, version: int) -> tuple[int, str] | None:
        """Return id and text of a version of a subject; None where it does not have it."""
        path = f"/subjects/{_quoted(subject)}/versions/{version}"
        answer = await self._ask(subject, "GET", path, missing=True)
        if answer is None:
            return None
        schema = answer.document.get("schema") if _is_object(answer) else None
        if not isinstance(schema, str):
            raise self._no_registry(subject, answer)
        return self._id(subject, answer), schema

    async def is_compatible(self, subject: str, schema: str) -> bool:
        """Return whether a schema may follow all versions of a subject, by its level."""
        path = f"/compatibility/subjects/{_quoted(subject)}/versions"
        answer = await self._ask(subject, "POST", path, {"schema": schema})
        fits = answer.document.get("is_compatible") if _is_object(answer) else None
        if not isinstance(fits, bool):
            raise self._no_registry(subject, answer)
        return fits

    async def get_schema(self, schema_id: int) -> str:
        """Return the text of a registered schema; RegistryError where there is no such id."""
        subject = f"id {schema_id}"
        answer = await self._ask(subject, "GET", f"/schemas/ids/{schema_id}")
        schema = answer.document.get("schema") if _is_object(answer) else None
        if not isinstance(schema, str):
            raise self._no_registry(subject, answer)
        return schema

    async def _ask(
        self,
        subject: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        missing: bool = False,
    ) -> Any:
        """An answer of 200; None for a 404 of the registry's where `missing` says so.

        Raises:
            RegistryUnreachableError: no answer in time, or none of a registry's; a status that
                says: not now.
            SchemaIncompatibleError: 409.
            RegistryError: anything else that the registry refuses.
        """
        answer = await self._send(subject, method, path, body)
        status = answer.status
        if status == _OK:
            return answer
        code = answer.document.get("error_code") if _is_object(answer) else None
        # a registry's own refusal has an error_code; one without it is a gateway's
        if status >= _SERVER_ERROR or status in _PASSING or not isinstance(code, int):
            raise self._no_registry(subject, answer)
        if status == _NOT_FOUND and missing:
            return None
        reason = self._redactor.foreign(str(answer.document.get("message") or "no reason given"))
        if status == _CONFLICT:
            raise SchemaIncompatibleError(subject, reason)
        raise RegistryError(subject, f"HTTP {status}: {reason}{_ADVICE.get(status, '')}")

    async def _send(self, subject: str, method: str, path: str, body: Any) -> _Answer:
        if self._http is None:
            raise RuntimeError("the registry client is not open: use `async with`")
        try:
            answer = await self._exchange(self._http, method, path, body)
            if answer.status == _UNAUTHORIZED and self._tokens is not None:
                # it may have been withdrawn, or signed with a key that was replaced
                self._tokens.forget()
                answer = await self._exchange(self._http, method, path, body)
        except NoAnswerError as exc:
            raise RegistryUnreachableError(
                subject,
                self._redactor.foreign(str(exc)),
                retry_after_seconds=exc.retry_after_seconds,
            ) from exc
        except NoTokenError as exc:
            if not exc.retryable:
                raise RegistryError(subject, str(exc)) from exc
            raise RegistryUnreachableError(
                subject, str(exc), retry_after_seconds=exc.retry_after_seconds
            ) from exc
        status, data, location, wait_seconds = answer
        if location:
            return _Answer(status, None, f"it leads to {self._redactor.foreign(location)}")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):  # the latter of brackets without end
            document = None
        return _Answer(status, document, self._redactor.foreign(data), wait_seconds)

    async def _exchange(
        self, http: aiohttp.ClientSession, method: str, path: str, body: Any
    ) -> HttpAnswer:
        headers = self._headers
        if self._tokens is not None:
            token = await self._tokens.get(http, timeout_seconds=self._timeout_seconds)
            headers = {**headers, "Authorization": f"Bearer {token}"}
        return await self._endpoint.ask(
            http,
            method,
            path,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=self._timeout_seconds,
        )

    def _id(self, subject: str, answer: _Answer) -> int:
        schema_id: Any = answer.document.get("id") if _is_object(answer) else None
        if not _is_id(schema_id):
            raise self._no_registry(subject, answer)
        return int(schema_id)

    def _no_registry(self, subject: str, answer: _Answer) -> RegistryUnreachableError:
        """Return the error for what is not a registry's answer, or one that says: not now."""
        text = answer.text
        if _is_object(answer) and isinstance(answer.document.get("message"), str):
            text = self._redactor.foreign(answer.document["message"])
        text = f"HTTP {answer.status}: {cut(text)}".rstrip(": ")
        if answer.status < _SERVER_ERROR and answer.status not in _PASSING:
            advice = _ADVICE.get(answer.status, ": is registry.url right?")
            text = f"this is not an answer of a schema registry's: {text}{advice}"
        return RegistryUnreachableError(
            subject, text, retry_after_seconds=answer.retry_after_seconds
        )


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _is_object(answer: _Answer) -> bool:
    return isinstance(answer.document, dict)


def _is_id(value: object) -> bool:
    # in JSON true is no number, in Python it is 1
    return type(value) is int and 1 <= value <= MAX_SCHEMA_ID


class MemoryRegistry(RegistryClient):
    """A registry in this process, for `mock://`: a client with the schemas of its own URL."""

    _all: Final[dict[str, MemoryRegistry]] = {}

    def __init__(self, settings: RegistrySettings) -> None:
        super().__init__(settings)
        self._schemas: dict[str, int] = {}
        self._subjects: dict[str, list[str]] = {}

    @classmethod
    def of(cls, settings: RegistrySettings) -> MemoryRegistry:
        """Return the registry of a URL; it lives as long as the process."""
        return cls._all.setdefault(settings.url, cls(settings))

    async def __aenter__(self) -> Self:
        return self

    async def _send(self, subject: str, method: str, path: str, body: Any) -> _Answer:
        """Answer as a registry would that accepts any schema."""
        schema = str((body or {}).get("schema", ""))
        versions = self._subjects.setdefault(subject, []) if schema else []
        if path.startswith("/config/"):
            return _Answer(_OK, {"compatibilityLevel": (body or {}).get("compatibility", "")}, "")
        if path.startswith("/compatibility/"):
            return _Answer(_OK, {"is_compatible": True}, "")
        if path.startswith("/schemas/ids/"):
            for text, number in self._schemas.items():
                if path.endswith(f"/{number}"):
                    return _Answer(_OK, {"schema": text}, "")
        elif method == "GET":
            there = self._subjects.get(subject, [])
            last = path.rpartition("/")[2]
            if last.isdecimal():
                text = there[int(last) - 1]
                return _Answer(_OK, {"id": self._schemas[text], "schema": text}, "")
            count = len(there)
            if count:
                return _Answer(_OK, list(range(1, count + 1)), "")
        elif path.endswith("/versions"):
            if schema not in versions:
                versions.append(schema)
            return _Answer(
                _OK, {"id": self._schemas.setdefault(schema, len(self._schemas) + 1)}, ""
            )
        elif schema in versions:
            number = versions.index(schema) + 1
            return _Answer(_OK, {"id": self._schemas[schema], "version": number}, "")
        return _Answer(_NOT_FOUND, {"error_code": 40401, "message": "there is none"}, "")


def registry_client(settings: RegistrySettings, *, timeout_seconds: float = 10.0) -> RegistryClient:
    """A client of the settings' registry.

    Raises:
        SettingsError: `ca_file` is of no use.
    """
    if urlsplit(settings.url).scheme == "mock":
        return MemoryRegistry.of(settings)
    return RegistryClient(settings, timeout_seconds=timeout_seconds)
