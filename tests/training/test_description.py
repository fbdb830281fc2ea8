from dataclasses import replace

import pytest

from recsys import files
from training.description import TrainingDescription


def test_what_is_written_is_read(small_run, tmp_path):
    written = TrainingDescription.of(small_run.config, small_run.dataset)
    written = replace(written, recipe=replace(written.recipe, batch_tokens=77))  # not what the data would give
    written.write(tmp_path)
    read = TrainingDescription.read(tmp_path)
    assert (read.config, read.recipe) == (written.config, written.recipe)
    assert read.dataset.digest == written.dataset.digest


def test_a_run_folder_without_a_recipe_has_it_resolved(small_run, tmp_path):
    written = TrainingDescription.of(small_run.config, small_run.dataset)
    written.write(tmp_path)
    values = files.read_json(tmp_path / "training.json")
    del values["recipe"]
    files.write_json(tmp_path / "training.json", values)
    assert TrainingDescription.read(tmp_path).recipe == written.recipe


def test_a_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no finished training at .*; expected the folder that `recsys train"):
        TrainingDescription.read(tmp_path)
