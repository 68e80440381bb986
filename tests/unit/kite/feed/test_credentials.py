import asyncio
import os
import re

import pytest
from pydantic import SecretStr

from connector import FileCredentials, StaticCredentials
from connector.testing import settle
from tests.support.unusable_tokens import UNUSABLE


def token(credentials):
    value = credentials.access_token()
    return value and value.get_secret_value()


def test_secrets_are_in_no_repr(tmp_path):
    (tmp_path / "token").write_text("SECRET-T")
    for credentials in [
        StaticCredentials("SECRET-K", "SECRET-T", "one"),
        FileCredentials("SECRET-K", tmp_path / "token", "one"),
    ]:
        shown = f"{credentials!r} {credentials} {vars(credentials)}"
        assert "SECRET" not in shown
        assert "one" in repr(credentials)


def test_secret_strings_are_taken_as_they_are():
    credentials = StaticCredentials(SecretStr("k"), SecretStr("t"))
    assert credentials.api_key.get_secret_value() == "k"
    assert token(credentials) == "t"


@pytest.mark.parametrize("nothing", [None, "", SecretStr("")])
def test_no_token_is_none(nothing):
    assert StaticCredentials("k", nothing).access_token() is None
    if nothing is not None:
        credentials = StaticCredentials("k", "t")
        credentials.set_access_token(nothing)
        assert credentials.access_token() is None


@pytest.mark.parametrize("bad", ["two words", "a\r\nX: 1", "a\0", "\ufeffa", "ä"])
def test_a_token_that_cannot_be_one_is_refused_at_once(bad):
    with pytest.raises(ValueError, match="not an api_key or access_token") as caught:
        StaticCredentials(bad, "t")
    assert bad not in str(caught.value)
    credentials = StaticCredentials(" k\n", " t\n")
    assert (credentials.api_key.get_secret_value(), token(credentials)) == ("k", "t")
    with pytest.raises(ValueError, match="not an api_key or access_token"):
        credentials.set_access_token(bad)
    assert token(credentials) == "t"


async def test_setting_a_token_wakes_all_who_wait():
    credentials = StaticCredentials("k", "old")
    waiting = [asyncio.create_task(credentials.changed(0)) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)
    credentials.set_access_token("new")
    await asyncio.gather(*waiting)
    assert token(credentials) == "new"
    assert credentials.version == 1


async def test_the_same_token_set_again_is_a_change():
    credentials = StaticCredentials("k", "t")
    credentials.set_access_token("t")
    await credentials.changed(0)


async def test_each_token_is_told(tmp_path):
    told = []
    credentials = StaticCredentials("k", None)
    credentials.add_listener(lambda token: told.append(token.get_secret_value()))
    credentials.set_access_token("1")
    path = tmp_path / "token"
    path.write_text("2")
    credentials = FileCredentials("k", path)
    credentials.add_listener(lambda token: told.append(token.get_secret_value()))
    for content in ("3", "", "4", "4\n"):
        path.write_text(content)
        credentials.access_token()
    assert told == ["1", "2", "3", "4"]


async def test_a_change_before_the_wait_is_not_missed():
    credentials = StaticCredentials("k", "old")
    version = credentials.version
    credentials.set_access_token("new")
    await credentials.changed(version)


class TestFile:
    def test_space_around_the_token_does_not_count(self, tmp_path):
        (tmp_path / "token").write_text("  t\n\n")
        assert token(FileCredentials("k", tmp_path / "token")) == "t"

    @pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
    def test_a_file_without_a_token_is_none(self, tmp_path, content):
        (tmp_path / "token").write_bytes(content)
        assert FileCredentials("k", tmp_path / "token").access_token() is None

    @pytest.mark.parametrize(("content", "reason"), UNUSABLE.values(), ids=UNUSABLE)
    async def test_what_is_no_token_is_told_and_waited_out(self, tmp_path, content, reason):
        path = tmp_path / "token"
        path.write_bytes(content)
        credentials = FileCredentials("k", path, poll_seconds=0.001)
        assert credentials.access_token() is None
        assert credentials.problem.startswith(f"no usable token in {path}: ")
        assert re.search(reason, credentials.problem)
        assert "yesterdays" not in f"{credentials!r} {vars(credentials)}"
        path.write_text("todays\n")
        async with asyncio.timeout(60):
            await credentials.changed(0)
        assert token(credentials) == "todays"
        assert credentials.problem == ""

    def test_what_is_no_file_is_told_and_never_waited_for(self, tmp_path):
        (tmp_path / "directory").mkdir()
        os.mkfifo(tmp_path / "pipe")
        with (tmp_path / "huge").open("wb") as file:
            file.truncate(2**40)
        (tmp_path / "dangling").symlink_to("nowhere")
        for name, reason in [
            ("directory", "is a directory, not a file"),
            ("pipe", "is a pipe, not a file"),
            ("huge", "has more than 4096 bytes"),
            ("dangling", "no such file"),
        ]:
            path = tmp_path / name
            credentials = FileCredentials("k", path)
            assert credentials.access_token() is None
            assert credentials.problem == f"no usable token in {path}: {reason}"

    async def test_another_reason_is_a_change_too(self, tmp_path):
        path = tmp_path / "token"
        credentials = FileCredentials("k", path)
        assert credentials.problem.endswith("no such file")
        path.write_text("two words")
        await credentials.changed(0)
        assert credentials.problem.endswith("holds a space, which no token does")

    def test_the_api_key_is_read_again_and_stays_while_it_cannot_be(self, tmp_path):
        token_file, key_file = tmp_path / "token", tmp_path / "key"
        token_file.write_text("day")
        credentials = FileCredentials("first", token_file, api_key_file=key_file)
        told = []
        credentials.add_listener(lambda secret: told.append(secret.get_secret_value()))
        assert credentials.api_key.get_secret_value() == "first"
        for content in ("second\n", "no api_key", ""):
            key_file.write_text(content)
            assert credentials.api_key.get_secret_value() == "second"
        assert told == ["day", "second"], "a log that masks it hears of it first"

    def test_a_missing_file_is_none_until_it_comes(self, tmp_path):
        credentials = FileCredentials("k", tmp_path / "sub" / "token")
        assert credentials.access_token() is None
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "token").write_text("t")
        assert token(credentials) == "t"
        assert credentials.version == 1

    async def test_a_change_before_the_wait_is_not_missed(self, tmp_path):
        (tmp_path / "token").write_text("old")
        credentials = FileCredentials("k", tmp_path / "token")
        (tmp_path / "token").write_text("new")
        await credentials.changed(0)
        assert token(credentials) == "new"

    def write(self, path):
        path.write_text("new")

    def replace(self, path):
        (path.parent / "tmp").write_text("new")
        (path.parent / "tmp").replace(path)

    @pytest.mark.parametrize("how", ["write", "replace"])
    async def test_a_change_is_noticed(self, tmp_path, how):
        path = tmp_path / "token"
        path.write_text("old")
        # a poll within the test's time would hide a watch that does not work
        credentials = FileCredentials("k", path, poll_seconds=3600)
        async with asyncio.timeout(60):
            await self.change_when_watched(credentials, lambda: getattr(self, how)(path))
        assert token(credentials) == "new"

    async def test_a_mounted_secret_is_swapped_by_its_link(self, tmp_path):
        for version, value in [("v1", "old"), ("v2", "new")]:
            (tmp_path / version).mkdir()
            (tmp_path / version / "token").write_text(value)
        (tmp_path / "..data").symlink_to("v1")
        (tmp_path / "token").symlink_to("..data/token")
        credentials = FileCredentials("k", tmp_path / "token", poll_seconds=3600)
        assert token(credentials) == "old"

        def swap():
            (tmp_path / "..data_tmp").symlink_to("v2")
            (tmp_path / "..data_tmp").replace(tmp_path / "..data")

        async with asyncio.timeout(60):
            await self.change_when_watched(credentials, swap)
        assert token(credentials) == "new"

    async def change_when_watched(self, credentials, change):
        """Change only once the watch is known to be set: it has noticed something else."""
        reads = []
        read = credentials.access_token
        credentials.access_token = lambda: reads.append(read())
        changed = asyncio.create_task(credentials.changed(0))
        await settle()
        looked = len(reads)
        while len(reads) == looked:
            (credentials.path.parent / "neighbour").write_text("")
            await asyncio.wait([changed], timeout=0.05)
        del credentials.access_token
        change()
        await changed

    async def test_without_a_folder_it_is_polled(self, tmp_path):
        credentials = FileCredentials("k", tmp_path / "sub" / "token", poll_seconds=0.001)
        changed = asyncio.create_task(credentials.changed(0))
        await settle()
        assert not changed.done()
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "token").write_text("t")
        async with asyncio.timeout(60):
            await changed
