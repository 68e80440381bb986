from connector.kite.feed.credentials import FileCredentials, StaticCredentials
from connector.service.outside import credentials_of
from connector.settings.models import AccountSettings


def test_credentials_are_where_the_settings_say(tmp_path):
    given = AccountSettings(name="a", api_key="k", access_token="t")
    assert isinstance(credentials_of(given), StaticCredentials)
    given = AccountSettings(name="b", api_key="k", access_token_file=tmp_path / "token")
    credentials = credentials_of(given)
    assert isinstance(credentials, FileCredentials)
    assert credentials.name == "b"
