import pytest
import typer

from connector.cli.verdict import ends_with


@pytest.mark.parametrize("reader_left", [False, True])
@pytest.mark.parametrize("exit_code", [0, 3])
def test_it_ends_with_the_code_whether_or_not_anybody_reads(exit_code, reader_left):
    ended_with = 0
    try:
        with ends_with(exit_code):
            if reader_left:
                raise BrokenPipeError
    except typer.Exit as ended:
        ended_with = ended.exit_code
    assert ended_with == exit_code


def test_any_other_error_is_passed_on():
    with pytest.raises(KeyError), ends_with(3):
        raise KeyError("x")
