import pytest
from confluent_kafka import Producer

from connector.kafka.config import client_properties
from connector.kafka.logins import Borrowed, Logins, changes, follow, login_of
from connector.settings.models import KafkaSettings


class Client:
    def __init__(self):
        self.given = []

    def set_sasl_credentials(self, username, password):
        self.given.append((username, password))


class Ended(Client):
    def set_sasl_credentials(self, username, password):
        raise RuntimeError("closed")


@pytest.fixture
def files(tmp_path):
    username, password = tmp_path / "username", tmp_path / "password"
    username.write_text("kite")
    password.write_text("first")
    return username, password


@pytest.fixture
def kafka(files):
    username, password = files
    return KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="kite",
        sasl_username_file=username,
        sasl_password="first",
        sasl_password_file=password,
    )


def test_new_clients_are_made_with_what_the_files_hold(kafka, files):
    files[1].write_text("second")
    properties = client_properties(kafka)
    assert (properties["sasl.username"], properties["sasl.password"]) == ("kite", "second")


def test_clients_that_live_are_given_a_new_login_once(kafka, files):
    hidden = []
    logins = Logins(kafka, hidden.append)
    first, second = Client(), Client()
    follow(kafka, first)
    follow(kafka, second)
    assert not logins.look()
    files[1].write_text("second")
    assert logins.look()
    assert not logins.look()
    assert first.given == second.given == [("kite", "second")]
    assert hidden == ["second"], "the log must not show it"


def test_a_client_that_ends_meanwhile_keeps_the_login_from_no_other(kafka, files):
    ended, client = Ended(), Client()
    follow(kafka, ended)
    follow(kafka, client)
    logins = Logins(kafka, lambda _: None)
    files[0].write_text("other")
    assert logins.look()
    assert client.given == [("other", "first")]


def test_a_file_that_is_taken_away_changes_nothing(kafka, files):
    logins = Logins(kafka, lambda _: None)
    files[1].unlink()
    assert not logins.look()
    assert login_of(kafka) == ("kite", "first")


def test_clients_of_other_brokers_are_left_alone(kafka, files):
    client = Client()
    follow(kafka.model_copy(update={"bootstrap_servers": "other:9092"}), client)
    logins = Logins(kafka, lambda _: None)
    files[1].write_text("second")
    logins.look()
    assert client.given == []


def test_a_topic_that_is_held_apart_gets_the_login_too(kafka, files):
    client = Client()
    follow(kafka.model_copy(update={"queue_max_messages": 1000}), client)
    logins = Logins(kafka, lambda _: None)
    files[1].write_text("second")
    logins.look()
    assert client.given == [("kite", "second")]


def test_without_files_nothing_changes():
    assert not changes(KafkaSettings())
    assert login_of(KafkaSettings()) is None
    assert not Logins(KafkaSettings(), lambda _: None).look()


def test_a_client_that_was_given_back_is_not_touched():
    client = Client()
    borrowed = Borrowed(client)
    borrowed.give_back()
    borrowed.set_sasl_credentials("kite", "second")
    assert client.given == []


def test_clients_of_the_library_take_a_login():
    Borrowed(Producer({"bootstrap.servers": "localhost:1"})).set_sasl_credentials("a", "b")
