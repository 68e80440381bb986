import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from connector.settings.section import BrokerList, FilePath, HttpUrl, clean


def test_text_and_secrets_lose_the_space_around_them():
    assert clean(" a b ") == "a b"
    assert clean(SecretStr(" key\n")).get_secret_value() == "key"
    assert clean(7) == 7
    with pytest.raises(ValueError, match="control character U\\+0000 at place 2"):
        clean("a\0b")


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        (HttpUrl, "ftp://host", "must begin with https:// or http://"),
        (HttpUrl, "https://user@host", "no user or password"),
        (HttpUrl, "https://host/?a=1", "must end with its path"),
        (HttpUrl, "https:///path", "names no host"),
        (BrokerList, "one:9092,two", "'two' must be host:port"),
        (BrokerList, "user@one:9092", "no user or password"),
        (BrokerList, "one:9092;two:9092", "'one:9092;two'… must be host:port"),
        (BrokerList, "one:9092:9093", "must be host:port"),
        (BrokerList, "::1:9092", "must be host:port"),
        (FilePath, "", "give a path, or null"),
        (FilePath, "~/spool", "only a shell replaces"),
        (FilePath, "${HOME}/spool", "only a shell replaces"),
        (FilePath, "/var/$USER", "only a shell replaces"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_told_what_is_wrong(kind, value, what):
    with pytest.raises(ValidationError, match=what):
        TypeAdapter(kind).validate_python(value)


def test_addresses_are_kept_in_one_form():
    assert TypeAdapter(HttpUrl).validate_python("https://host:1/a/") == "https://host:1/a"
    assert TypeAdapter(BrokerList).validate_python("one:9092, [::1]:9093") == "one:9092,[::1]:9093"
