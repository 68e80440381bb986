"""Commands from the page, for whoever has the operator's token: into `kite.control`, as `ctl` does.

A command is tried first: with `dry_run` it changes nothing, and the answer says at which revision
it was tried. What is to have an effect must name that revision, so nothing is applied but what was
shown. The token comes in a header, which no other site can make a browser send; it is compared in
constant time, and stands in no address and no log.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from connector.control.bounds import excerpt
from connector.control.client import ControlClient, new_id
from connector.control.commands import Command, Status
from connector.control.parsing import Rejected, parse, repeated_key
from connector.control.reply import Reply
from connector.errors import (
    BrokerUnreachableError,
    ConnectorError,
    NoReplyError,
    SettingsError,
)
from connector.files import UnusableFileError, read_bounded
from connector.kafka.topics import TopicNames
from connector.kite.feed.log import worth_a_line
from connector.kite.web.http_server import HttpRequest, Response
from connector.settings.models import Settings

SENDER: Final = "page"
"""Who sends a command whose operator gave no name."""
PATH: Final = "/page/command"
ANSWER_HEADERS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""The headers of each answer to the page; its own files have more."""
MIN_TOKEN_CHARS: Final = 24
"""A shorter token is not taken: it might be guessed."""
MAX_TOKEN_BYTES: Final = 1024
"""The token's file may have so many bytes."""
REPLY_SECONDS: Final = 20.0
"""The leader has so long for each reply."""
_SETTING: Final = "http.operator_token_file"
_log = structlog.get_logger("connector.http")

Send = Callable[[Command], Reply]
"""Writes a command and waits for its reply; blocks, and raises what `ControlClient.send` does."""


class OperatorCommands:
    """Takes commands from the page, one at a time; belongs to the event loop.

    Args:
        settings: where the token is, and how brokers are reached.
        topics: the topics' names.
        send: sends a command, in a thread; through Kafka when not given.
    """

    def __init__(self, settings: Settings, topics: TopicNames, send: Send | None = None) -> None:
        self._settings = settings
        self._topics = topics
        self._send = send or self._through_kafka
        self._file = settings.http.operator_token_file
        # one command at a time: each has a thread and two clients of Kafka
        self._busy = False
        # tokens that were wrong, for the log
        self._wrong = 0

    @property
    def enabled(self) -> bool:
        """Whether commands are taken at all."""
        return self._file is not None and self._settings.cluster.enabled

    def check(self) -> None:
        """Look whether the token can be read.

        Raises:
            SettingsError: it cannot, or it is too short.
        """
        if self._file is None:
            return
        try:
            token = _token(self._file)
        except UnusableFileError as error:
            raise SettingsError.of(_SETTING, f"{self._file} {error}") from error
        if len(token) < MIN_TOKEN_CHARS:
            raise SettingsError.of(_SETTING, f"needs {MIN_TOKEN_CHARS} characters at least")

    async def answer(self, request: HttpRequest) -> Response:
        """Try or send the command in a request's body; never raises."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        command = self._command(request.body)
        if isinstance(command, Response):
            return command
        if self._busy:
            return json_answer(503, {"error": "another command is under way: try again"})
        return await self._sent(command)

    def _refusal(self, request: HttpRequest) -> Response | None:
        headers = request.headers
        if request.method != "POST":
            return json_answer(405, {"error": "POST a command"})
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return json_answer(415, {"error": "a command is application/json"})
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (
            # compared as text: it may be no address
            origin is not None
            and origin not in {f"{scheme}://{headers.get('host')}" for scheme in ("http", "https")}
        ):
            return json_answer(403, {"error": "commands come from the page itself"})
        if not self._authorized(headers.get("authorization", "")):
            self._wrong += 1
            if worth_a_line(self._wrong):
                _log.warning("operator_token_rejected", count=self._wrong)
            return json_answer(401, {"error": "not the operator's token"})
        return None

    def _authorized(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        if self._file is None or scheme.lower() != "bearer":
            return False
        try:
            token = _token(self._file)  # read each time: it may be changed while this runs
        except UnusableFileError:
            return False
        equal = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token)
        return equal and len(token) >= MIN_TOKEN_CHARS

    def _command(self, body: bytes) -> Command | Response:
        try:
            fields, twice = json.loads(body), repeated_key(body)
        except (ValueError, RecursionError):
            return json_answer(400, {"error": "the body is no JSON"})
        if twice is not None:
            return json_answer(400, {"error": f"{excerpt(twice)}: is there twice"})
        if not isinstance(fields, dict) or "id" in fields:
            return json_answer(400, {"error": "the body must be a command, without an id"})
        written = json.dumps({"id": new_id(), "by": SENDER, **fields}).encode()
        command = parse(written, self._settings.cluster.command_max_bytes)
        if isinstance(command, Rejected):
            return json_answer(400, {"error": "; ".join(command.errors)})
        # the try said at which revision it was: without that, something else might be applied than
        # was shown
        if not command.dry_run and command.expected_revision is None:
            return json_answer(
                428, {"error": "try it first (dry_run), then send the expected_revision"}
            )
        return command

    async def _sent(self, command: Command) -> Response:
        self._busy = True
        sending = asyncio.ensure_future(asyncio.to_thread(self._tried, command))
        # also where whoever asked is gone: a thread cannot be told to end
        sending.add_done_callback(self._ended)
        try:
            reply, revision = await asyncio.shield(sending)
        except NoReplyError as error:
            return json_answer(504, {"error": str(error)})
        except BrokerUnreachableError as error:
            return json_answer(503, {"error": str(error)})
        except ConnectorError as error:
            return json_answer(502, {"error": str(error)})
        if not command.dry_run:
            _log.info(
                "operator_command_sent",
                id=command.id,
                type=command.type,
                by=command.by,
                status=reply.status.value,
                revision=reply.revision,
            )
        document = json.loads(reply.model_dump_json(exclude_none=True))
        return json_answer(200, {"reply": document, "expected_revision": revision})

    def _ended(self, sending: asyncio.Future[Any]) -> None:
        self._busy = False
        if not sending.cancelled():
            sending.exception()  # seen, where nobody waits for it any more

    def _tried(self, command: Command) -> tuple[Reply, int | None]:
        """Send a command; one that is only tried, at the revision of this moment."""
        if not command.dry_run:
            return self._send(command), command.expected_revision
        # first the revision, then the try at it: what was shown is what that revision leads to
        now = self._send(Status(id=new_id(), type="status"))
        at = command.model_copy(update={"expected_revision": now.revision})
        return self._send(at), now.revision

    def _through_kafka(self, command: Command) -> Reply:
        settings = self._settings
        with ControlClient(settings.kafka, self._topics, name=settings.name) as client:
            return client.send(command, REPLY_SECONDS)


def _token(file: Path) -> bytes:
    return read_bounded(file, MAX_TOKEN_BYTES).strip()


def json_answer(status: int, document: dict[str, Any]) -> Response:
    """Return a document as what a path of the page answers."""
    body = json.dumps(document, default=str).encode()
    return Response(status, "application/json; charset=utf-8", body, ANSWER_HEADERS)
