"""Which way a process has to librdkafka, and that it says so."""

import sys

import pytest
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.clients import VARIABLE, ClientCallbacks, chosen, new_client
from connector.kafka.config import ClientLog

native = pytest.importorskip("connector.kafka._native", reason="the extension is not built")


@pytest.fixture(autouse=True)
def unchosen():
    chosen.cache_clear()
    yield
    chosen.cache_clear()


def made(**properties):
    handlers = ClientCallbacks(*[lambda *_: None] * 4, log=ClientLog("test"))
    client = new_client({"log_level": 0, **properties}, handlers)
    client.close()
    return client.way


@pytest.mark.parametrize("choice", ["auto", "native"])
def test_the_native_client_is_taken_where_it_can_be_had(monkeypatch, choice):
    monkeypatch.setenv(VARIABLE, choice)
    assert made() == "native"


def test_confluent_kafkas_client_is_taken_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv(VARIABLE, "confluent")
    assert made() == f"confluent: {VARIABLE}=confluent"


def no_library(monkeypatch, tmp_path):
    monkeypatch.setattr(clients, "candidates", list)
    return "librdkafka's shared library is not found"


def no_elf(monkeypatch, tmp_path):
    (tmp_path / "librdkafka.so").write_bytes(b"no library")
    monkeypatch.setattr(clients, "candidates", lambda: [tmp_path / "librdkafka.so"])
    return "librdkafka.so"


def other_library(monkeypatch, tmp_path):
    monkeypatch.setattr(clients, "candidates", lambda: [native.__file__])
    return "it has no rd_kafka_version"


def unknown_version(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "FIRST_UNKNOWN_VERSION", native.OLDEST_VERSION)
    return "is not known"


def unbuilt(monkeypatch, tmp_path):
    # None in sys.modules is Python's own way to make an import fail
    monkeypatch.setitem(sys.modules, "connector.kafka._native", None)
    return "connector.kafka._native"


@pytest.mark.parametrize("away", [no_library, no_elf, other_library, unknown_version, unbuilt])
def test_without_a_library_that_is_known_the_other_way_runs_and_says_why(
    monkeypatch, tmp_path, away
):
    monkeypatch.setenv(VARIABLE, "auto")
    reason = away(monkeypatch, tmp_path)
    with capture_logs() as logs:
        assert made().startswith("confluent: ")
        assert reason in made()
    assert [log["event"] for log in logs] == ["native_producer_unavailable"]
    assert reason in logs[0]["reason"]
    chosen.cache_clear()
    monkeypatch.setenv(VARIABLE, "native")
    with pytest.raises(SettingsError, match=VARIABLE):
        made()


def test_a_choice_that_is_none_is_a_wrong_setting(monkeypatch):
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(SettingsError, match="'fast' is none of auto, native, confluent"):
        made()


def test_what_confluent_kafka_does_something_for_goes_through_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, "auto")
    name = "sasl.oauthbearer.metadata.authentication.type"
    assert made(**{name: "none"}) == f"confluent: kafka.client has {name}"
