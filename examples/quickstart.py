"""From an event log to recommendations in one file, by the Python API.

Run it with ``OMP_WAIT_POLICY=PASSIVE python examples/quickstart.py [FOLDER]``. It takes about a minute and leaves
everything in FOLDER, or in ``quickstart``. Without the setting, PyTorch's threads slow each other down on a busy
machine.
"""

import sys
from pathlib import Path

from features.build import build
from recsys import Retriever, load_config
from recsys.synthetic import make_world
from training.learning_curve import EpochResult
from training.loop import train
from training.promotion import promote
from training.publish import publish

CONFIG = """\
[data]
events = "events.parquet"
time = "timestamp"
items = "items.parquet"

[[features.item]]
name = "genre"
kind = "categorical"

[training]
epochs = 4
learning_rate = 1e-2

[registry]
name = "quickstart"
"""


def show(epoch: EpochResult) -> None:
    """Print one epoch's loss and validation score."""
    print(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, validation NDCG@10 {epoch.score:.4f}")


def main(folder: Path) -> None:
    """Build, train, publish and promote in ``folder``, then recommend to a known user and to a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    world = make_world(seed=0, num_users=1_000, num_items=300)  # your own log goes here
    world.events.write_parquet(folder / "events.parquet")
    world.items.write_parquet(folder / "items.parquet")
    (folder / "config.toml").write_text(CONFIG)
    config = load_config(folder / "config.toml")
    registry_uri = f"sqlite:///{folder / 'mlflow.db'}"

    dataset = build(config, folder / "run" / "dataset")
    train(config, dataset, folder / "run", resume=True, on_epoch=show)
    publish(folder / "run", registry_uri=registry_uri)
    decision = promote("quickstart", registry_uri=registry_uri)
    print(*decision.lines(), sep="\n")

    retriever = Retriever.load(str(folder / "run" / "bundle"), events=str(folder / "events.parquet"))
    known_user = world.events["user_id"][0]
    print(retriever.recommend(user_ids=[known_user], k=5))
    print(retriever.recommend([["i00001", "i00002"]], k=5, where=[("year", ">=", 1950)]))


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["quickstart"]))
