from pathlib import Path

from features.engine import in_processes
from features.inputs import read_inputs
from tests.random_logs import config_of, random_log


def test_one_process_is_this_one_and_reads_a_log_that_fits_as_it_is(tmp_path: Path) -> None:
    with in_processes(1)(tmp_path) as engine:
        inputs = read_inputs(config_of(tmp_path, random_log()), tmp_path / "interim", engine.partition)
        with engine.shard_map(inputs) as shard_map:
            assert shard_map is map
    assert not (tmp_path / "interim").exists()
