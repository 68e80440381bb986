import pytest

from connector.service.accept import prefers_openmetrics

OPENMETRICS = "application/openmetrics-text"
# what Prometheus 2.4x and 3.x send
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        OPENMETRICS, PROMETHEUS, "Application/OpenMetrics-Text ; Q=0.1", "application/*",
        f"text/plain;q=0.5,{OPENMETRICS}", f"{OPENMETRICS},text/plain", f"*/*, {OPENMETRICS}",
        f"{OPENMETRICS};q=0, {OPENMETRICS};version=1.0.0", f'{OPENMETRICS};x="a,b;q=0"',
        f"text/plain;q=0,{OPENMETRICS};q=0.001", f"{OPENMETRICS};q=nan", f"{OPENMETRICS};q=",
        f"{OPENMETRICS};q=7", f"{OPENMETRICS};q=-1", "*/*;q=0.1,application/*;q=0.2",
    ],
)  # fmt: skip
def test_openmetrics_is_for_those_who_want_it_most(accept):
    assert prefers_openmetrics(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "", ",", "*/*", "text/plain", "text/*", "text/html", "application/json", "nonsense",
        f"{OPENMETRICS};q=0", f"{OPENMETRICS};q=0.0", f"{OPENMETRICS}; q = 0.000",
        f"{OPENMETRICS};q=0,*/*", f"{OPENMETRICS};q=0,text/plain;q=0",
        f"text/plain,{OPENMETRICS};q=0.9",
        f"*/*,{OPENMETRICS};q=0.5", f"text/*;q=0.8,{OPENMETRICS};q=0.7", f"x{OPENMETRICS}",
        f'text/plain;x="{OPENMETRICS}"', f'text/plain;x=",{OPENMETRICS},"', f"{OPENMETRICS}x",
        f'text/plain;x="\\",{OPENMETRICS}', f"application/*;q=0,{OPENMETRICS};q=0",
        f'{OPENMETRICS};x="a;b,c";q=0',
    ],
)  # fmt: skip
def test_all_others_get_the_text(accept):
    assert not prefers_openmetrics(accept)


def test_a_long_header_is_read_in_one_go():
    for piece in ('"', "\\", ",", ";", '",', '"\\', ";q=0,", "a,"):
        assert not prefers_openmetrics(piece * 16_384)
