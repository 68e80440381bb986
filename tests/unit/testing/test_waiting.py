import pytest

from connector.testing import until, wait_until


async def test_a_condition_that_comes_true_is_waited_for():
    turns = iter([0, 0, 1])
    await until(lambda: next(turns))
    assert next(turns, None) is None
    turns = iter([0, "", "yes"])
    assert wait_until(lambda: next(turns)) == "yes"


async def test_one_that_does_not_fails_the_test():
    with pytest.raises(AssertionError, match="did not come true in 0 s"):
        await until(lambda: False, seconds=0)
    with pytest.raises(AssertionError, match="did not come true in 0 s"):
        wait_until(lambda: 0, seconds=0)
