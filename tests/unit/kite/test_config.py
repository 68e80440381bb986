import pytest
from pydantic import ValidationError

from connector import ChannelPolicy, ConnectionConfig, KiteManagerConfig, Mode


def test_the_defaults_are_what_the_feed_allows():
    config = KiteManagerConfig()
    assert (config.max_connections, config.max_symbols_per_connection) == (3, 3000)
    assert config.channel_policy is ChannelPolicy.DROP_OLDEST
    assert config.default_mode is Mode.QUOTE
    assert config.max_reconnect_attempts is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connections": 4},
        {"max_connections": 0},
        {"max_symbols_per_connection": 3001},
        {"channel_size": 0},
        {"ping_interval_seconds": 0},
        {"ping_interval_seconds": 1e-9},
        {"liveness_threshold_seconds": 0.01, "ping_interval_seconds": 0.005},
        {"liveness_threshold_seconds": float("inf")},
        {"slot_wait_seconds": -1},
        {"reconnect_min_delay_seconds": 31},
        {"ping_interval_seconds": 6.0},
        {"confirm_attempts": -1},
        {"default_mode": "tick"},
        {"unheard_of": 1},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        KiteManagerConfig(**wrong)


def test_it_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError):
        ConnectionConfig().ping_interval_seconds = 1


def test_every_option_is_described():
    for name, field in KiteManagerConfig.model_fields.items():
        assert field.description, name
