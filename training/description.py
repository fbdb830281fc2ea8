"""The description of a training: what was trained, on which data and how. Stored as ``training.json``."""

from dataclasses import dataclass
from pathlib import Path

from recsys import files
from recsys.config import Config
from recsys.data import Dataset
from recsys.errors import InputError
from recsys.model import ModelSpec

from .recipe import Recipe, resolve

FILE = "training.json"


@dataclass(frozen=True)
class TrainingDescription:
    """The dataset, the configuration as it was written, and the recipe, which settles what that leaves open."""

    dataset: Dataset
    config: Config
    recipe: Recipe

    @staticmethod
    def of(config: Config, dataset: Dataset) -> "TrainingDescription":
        """Resolve the recipe. Raises InputError if settings do not go together."""
        return TrainingDescription(dataset, config, resolve(config, dataset.encoder, dataset.train()[1]))

    @staticmethod
    def read(run: Path) -> "TrainingDescription":
        """Read the description in a run folder.

        Earlier versions stored no recipe, so it is resolved once more. Raises InputError if no training has finished
        there.
        """
        if not (run / FILE).is_file():
            raise InputError(f"no finished training at {run}; expected the folder that `recsys train --out` wrote")
        with files.input_error_if_damaged(run / FILE):
            values = files.read_json(run / FILE)
            config, location = Config.model_validate(values["config"]), str(values["dataset"])
            recipe = values.get("recipe")
        dataset = Dataset.open(location)
        if recipe is None:
            return TrainingDescription.of(config, dataset)
        with files.input_error_if_damaged(run / FILE):
            model = ModelSpec.from_json(recipe["model"], dataset.encoder)
            return TrainingDescription(dataset, config, Recipe(**recipe | {"model": model}))

    def write(self, run: Path) -> None:
        """Write ``training.json``, atomically. The model's transforms stay with the dataset's encoder."""
        recipe = vars(self.recipe) | {"model": self.recipe.model.to_json()}
        config = self.config.model_dump(mode="json")
        location = self.dataset.address or str(self.dataset.path.resolve())
        files.write_json(run / FILE, {"dataset": location, "config": config, "recipe": recipe})
