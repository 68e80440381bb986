import pytest
from pydantic import ValidationError

from connector.simulator import SimulatedAccount, SimulatorConfig


def test_every_setting_says_what_it_is():
    for model in (SimulatorConfig, SimulatedAccount):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_defaults_are_kites_own_limits():
    config = SimulatorConfig()
    assert (config.max_sockets_per_key, config.max_instruments_per_socket) == (3, 3000)
    assert config.heartbeat_seconds == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"ws_port": 70_000},
        {"instruments": 0},
        {"accounts": ()},
        {"accounts": (SimulatedAccount(), SimulatedAccount())},
        {"burst_seconds": 20.0},
        {"replay_route": "both"},
        {"unknown": 1},
    ],
)
def test_wrong_settings(wrong):
    with pytest.raises(ValidationError):
        SimulatorConfig(**wrong)


def test_no_repr_shows_a_token():
    account = SimulatedAccount(api_secret="s3cret", access_token="t0ken")
    assert "s3cret" not in repr(SimulatorConfig(accounts=(account,)))
    assert "t0ken" not in repr(SimulatorConfig(accounts=(account,)))
