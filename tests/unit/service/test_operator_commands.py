import asyncio
import json
import threading

import pytest
from structlog.testing import capture_logs

from connector.control.commands import Status
from connector.control.reply import Reply, ReplyStatus
from connector.errors import BrokerUnreachableError, NoReplyError, SettingsError
from connector.kafka.topics import TopicNames
from connector.kite.web.http_server import HttpRequest
from connector.service.operator_commands import (
    MAX_TOKEN_BYTES,
    MIN_TOKEN_CHARS,
    PATH,
    OperatorCommands,
)
from connector.settings.models import Settings
from connector.testing import until

TOKEN = "operator-" + "t" * MIN_TOKEN_CHARS
DELETE = {"type": "delete", "watchlist": "desk"}


class Leader:
    """Answers commands at revision 7."""

    def __init__(self):
        self.commands = []
        self.error = None
        self.hold = None

    def __call__(self, command):
        if self.hold is not None:
            self.hold.wait()
        self.commands.append(command)
        if self.error is not None:
            raise self.error
        return Reply(id=command.id, status=ReplyStatus.APPLIED, revision=7 if isinstance(
            command, Status) else 8, dry_run=command.dry_run)  # fmt: skip


@pytest.fixture
def leader():
    return Leader()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def commands(file, leader):
    return made(file, leader)


def made(file, leader, **settings):
    tree = {
        "accounts": [{"name": "main", "api_key": "k", "access_token": "t"}],
        "http": {"operator_token_file": file},
        **settings,
    }
    return OperatorCommands(Settings.model_validate(tree), TopicNames(), leader)


def post(fields=None, token=TOKEN, body=None, **headers):
    given = {
        "host": "127.0.0.1:8090",
        "content-type": "application/json",
        "authorization": f"Bearer {token}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return HttpRequest(PATH, "", "", "POST", given, body or json.dumps(fields or DELETE).encode())


async def answered(commands, request):
    answer = await commands.answer(request)
    return answer.status, json.loads(answer.body)


async def test_a_command_is_tried_at_the_revision_of_the_moment(commands, leader):
    status, document = await answered(commands, post({**DELETE, "dry_run": True}))
    assert (status, document["reply"]["status"], document["expected_revision"]) == (
        200, "APPLIED", 7,
    )  # fmt: skip
    asked, tried = leader.commands
    assert isinstance(asked, Status)
    assert (tried.type, tried.dry_run, tried.expected_revision) == ("delete", True, 7)


async def test_what_was_tried_is_applied_and_logged(commands, leader):
    with capture_logs() as logs:
        status, document = await answered(commands, post({**DELETE, "expected_revision": 7}))
    assert (status, document["reply"]["revision"]) == (200, 8)
    (sent,) = leader.commands
    assert (sent.dry_run, sent.expected_revision) == (False, 7)
    (entry,) = logs
    assert (entry["event"], entry["type"], entry["id"]) == (
        "operator_command_sent", "delete", sent.id,
    )  # fmt: skip
    assert TOKEN not in json.dumps(logs)


async def test_nothing_is_applied_that_was_not_tried(commands, leader):
    assert (await answered(commands, post(DELETE)))[0] == 428
    assert leader.commands == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(token=""), 401),
        (post(token=TOKEN[:-1]), 401),
        (post(token=TOKEN + "x"), 401),
        (post(token="\u00fc"), 401),
        (post(authorization=f"Basic {TOKEN}"), 401),
        (post(authorization=""), 401),
        (post(content_type="text/plain"), 415),
        (post(content_type=""), 415),
        (post(origin="https://elsewhere.example"), 403),
        (post(origin="null"), 403),
        (post(origin="http://["), 403),
        (post(origin="http://[::1"), 403),
        (post(origin="http://127.0.0.1:8090/"), 403),
        (post(origin=""), 403),
        (post(sec_fetch_site="cross-site"), 403),
        (post(sec_fetch_site="same-site"), 403),
        (post()._replace(method="GET"), 405),
        (post(body=b"{"), 400),
        (post(body=b"[" * 100_000), 400),
        (post(body=b"[]"), 400),
        (post({"id": "mine", **DELETE}), 400),
        (post({"type": "buy"}), 400),
        (post(body=b'{"type":"delete","watchlist":"desk","dry_run":true,"watchlist":"all"}'), 400),
        (post({"type": "delete", "watchlist": "x", "more": 1}), 400),
    ],
)
async def test_what_is_no_operators_command_is_refused(commands, leader, request_, status):
    with capture_logs() as logs:
        found, document = await answered(commands, request_)
    assert found == status
    assert document["error"]
    assert leader.commands == []
    assert TOKEN not in json.dumps([document, logs])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8090", "https://127.0.0.1:8090"])
async def test_the_page_itself_is_heard(commands, origin):
    request = post({**DELETE, "dry_run": True}, origin=origin, sec_fetch_site="same-origin")
    assert (await answered(commands, request))[0] == 200


async def test_wrong_tokens_are_logged_now_and_then(commands):
    with capture_logs() as logs:
        for _ in range(9):
            await commands.answer(post(token="wrong"))
    assert [entry["count"] for entry in logs] == [1, 2, 4, 8]


async def test_a_token_that_changes_counts_at_once(commands, file):
    file.write_text("another-" + "t" * MIN_TOKEN_CHARS)
    assert (await answered(commands, post()))[0] == 401
    request = post({**DELETE, "dry_run": True}, token="another-" + "t" * MIN_TOKEN_CHARS)
    assert (await answered(commands, request))[0] == 200
    for content in ("", "short", "x" * (MAX_TOKEN_BYTES + 1)):
        file.write_text(content)
        assert (await answered(commands, post(token=content)))[0] == 401
    file.unlink()
    assert (await answered(commands, post(token="")))[0] == 401


async def test_one_command_at_a_time(commands, leader):
    leader.hold = threading.Event()
    first = asyncio.ensure_future(answered(commands, post({**DELETE, "dry_run": True})))
    await until(lambda: commands._busy)
    assert (await answered(commands, post({**DELETE, "dry_run": True})))[0] == 503
    leader.hold.set()
    assert (await first)[0] == 200


async def test_a_command_that_nobody_waits_for_any_more_is_under_way_all_the_same(commands, leader):
    leader.hold = threading.Event()
    gone = asyncio.ensure_future(answered(commands, post({**DELETE, "dry_run": True})))
    await until(lambda: commands._busy)
    gone.cancel()
    await asyncio.wait([gone])
    assert (await answered(commands, post({**DELETE, "dry_run": True})))[0] == 503
    leader.hold.set()
    await until(lambda: not commands._busy)
    assert (await answered(commands, post({**DELETE, "dry_run": True})))[0] == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(NoReplyError("x", 20), 504), (BrokerUnreachableError("kafka:9092", "refused"), 503)],
)
async def test_a_leader_that_does_not_answer_is_said(commands, leader, error, status):
    leader.error = error
    found, document = await answered(commands, post({**DELETE, "dry_run": True}))
    assert (found, document["error"]) == (status, str(error))


@pytest.mark.parametrize("content", ["", "short", None, "x" * (MAX_TOKEN_BYTES + 1)])
def test_a_token_that_cannot_be_used_ends_the_start_with_the_setting(file, leader, content):
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"http\.operator_token_file"):
        made(file, leader).check()


def test_without_a_token_or_a_cluster_no_command_is_taken(file, leader):
    assert made(file, leader).enabled
    assert not made(None, leader).enabled
    assert not made(file, leader, cluster={"enabled": False}).enabled
    made(None, leader).check()
