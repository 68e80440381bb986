import pytest
from pydantic import ValidationError

from connector.simulator.faults import FaultKind, FaultSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abort", FaultSpec(kind=FaultKind.ABORT)),
        ("silence@30", FaultSpec(kind=FaultKind.SILENCE, at_seconds=30)),
        ("silence@30:8.5", FaultSpec(kind=FaultKind.SILENCE, at_seconds=30, seconds=8.5)),
        (" mute:5 ", FaultSpec(kind=FaultKind.MUTE, seconds=5)),
        (
            "refuse@5,status=502,count=3",
            FaultSpec(kind=FaultKind.REFUSE, at_seconds=5, status=502, count=3),
        ),
        ("close,sockets=0+2,text=bye", FaultSpec(kind=FaultKind.CLOSE, sockets=(0, 2), text="bye")),
    ],
)
def test_the_short_form(text, expected):
    assert FaultSpec.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "meteor",
        "silence@",
        "silence@x",
        "silence:0",
        "silence@1:2:3",
        "close,sockets",
        "close,sockets=a",
        "close,colour=red",
        "close,text=a, b",
        "refuse,status=200",
    ],
)
def test_what_is_no_short_form(text):
    with pytest.raises(ValueError, match=r"fault|greater than|validation error"):
        FaultSpec.parse(text)


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2000, 5000])
def test_close_codes_that_cannot_be_sent(code):
    with pytest.raises(ValidationError):
        FaultSpec(kind=FaultKind.CLOSE, code=code)


@pytest.mark.parametrize("status", [200, 399, 499, 599, 1000])
def test_statuses_that_are_no_http_error(status):
    with pytest.raises(ValidationError):
        FaultSpec(kind=FaultKind.REFUSE, status=status)


def test_every_field_says_what_it_is():
    assert all(field.description for field in FaultSpec.model_fields.values())
