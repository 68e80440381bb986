"""A running service and whatever may stand in the place of its access_token's file."""

import os

import pytest

from connector.testing import until
from tests.support.stack import service, stack, streaming
from tests.support.unusable_tokens import UNUSABLE

ACCOUNT = {"api_key": "simulated_key"}


def waits(running):
    connections = running.status().connections
    return [connection.state for connection in connections] == ["waiting_for_token"] * 3


@pytest.mark.parametrize(
    "name", ["a comment and a token", "a carriage return inside", "NUL inside", "a byte order mark"]
)
async def test_a_service_starts_with_what_is_no_token_and_waits(tmp_path, name):
    content, _ = UNUSABLE[name]
    path = tmp_path / "access_token"
    path.write_bytes(content)
    accounts = [{**ACCOUNT, "access_token_file": str(path)}]
    async with stack(accounts=accounts) as around, service(around, ready=False) as running:
        await until(lambda: waits(running))
        # each morning's look at the list of instruments uses the same file
        await running.running.refresh(accept_list=False)
        assert f"no usable token in {path}" in str(running.status().not_ready)
        assert "yesterdays" not in str(running.status().as_json())
        assert around.simulator.max_open_sockets() == 0, "nothing was sent"
        path.write_text("simulated_token\n")
        await streaming(around, running)


async def test_a_file_may_become_anything_while_it_waits(tmp_path):
    path = tmp_path / "access_token"
    accounts = [{**ACCOUNT, "access_token_file": str(path)}]
    async with stack(accounts=accounts) as around, service(around, ready=False) as running:
        for change, reason in [
            (lambda: None, "no such file"),
            (path.mkdir, "is a directory"),
            (lambda: (path.rmdir(), os.mkfifo(path)), "is a pipe"),
            (lambda: (path.unlink(), path.symlink_to("nowhere")), "no such file"),
            (lambda: (path.unlink(), path.write_bytes(b"a" * 5000)), "more than 4096 bytes"),
            (lambda: path.write_text('{"access_token": "new"}'), "holds JSON"),
        ]:
            change()
            await until(
                lambda reason=reason: (
                    waits(running)
                    and all(reason in (c.last_error or "") for c in running.status().connections)
                )
            )
        path.write_text("simulated_token")
        await streaming(around, running)
