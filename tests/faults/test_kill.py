"""A training that is killed goes on, and ends in the model of one that was not."""

import os
import random

import pytest

from tests.faults.kill import kill_and_go_on, reference


@pytest.mark.slow
def test_killed_trainings_give_the_bytes_of_one_training(tmp_path) -> None:
    whole, seconds = reference(tmp_path)
    kills = int(os.environ.get("PLAINNET_KILLS", "4"))
    fell, model = kill_and_go_on(tmp_path, kills, random.Random(13), seconds)  # noqa: S311 - no secret
    assert fell
    assert model == whole, fell
