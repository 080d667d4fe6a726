"""A process that forks after it has asked: parent and child never read from one connection."""

import pytest
from forking import check_each_for_itself, forks


@forks
@pytest.mark.parametrize("lane", ["sdk", "http"])
def test_each_process_has_connections_of_its_own(lane, sandbox):
    check_each_for_itself(sandbox, "openai", lane)
