"""Files of sensitivities that are hostile: one short line, and no waiting."""

from __future__ import annotations

import os

import pytest

from nqz.commands.sensitivities import check_sensitivities, read_across
from nqz.ground.errors import InputError, UsageError


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="is no regular file"):
        read_across(str(tmp_path / "pipe.json"))


@pytest.mark.parametrize(
    "across", [{"x" * 10**6: -1.0}, {"x": "y" * 10**6}, {"x": [[0] * 10**5]}, {"x": 10**400}]
)
def test_messages_stay_short_whatever_is_in_it(across):
    with pytest.raises(UsageError) as caught:
        check_sensitivities(across)
    assert len(str(caught.value)) < 300
