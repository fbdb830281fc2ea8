"""manifest.json of a dataset: the fingerprint of its inputs, its configuration and what the build counted."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..config import Config
from ..errors import InputError
from ..files import read_json, write_json
from .events import LogCounts
from .metadata import MetadataCounts

ARTIFACT, FORMAT = "dataset", 5
_FILE = "manifest.json"


class SplitCounts(BaseModel, frozen=True):
    """What a split makes of the users and events of a log, or of one shard of it."""

    users: int
    users_with_few_events: int
    """Users with too few events to be a query."""
    training_events: int
    validation_queries: int
    test_queries: int
    equal_times: int
    """Events at the same time as the user's previous one, which the order of the log decides."""

    def __add__(self, other: "SplitCounts") -> "SplitCounts":
        return SplitCounts(**{name: count + getattr(other, name) for name, count in self})


class BuildStatistics(SplitCounts, frozen=True):
    """Everything that a build counted. On disk it is one flat object."""

    log: LogCounts
    test: LogCounts | None = None
    """The test file of a "given" split."""
    items: int
    """The size of the catalogue, cold items included."""
    trained_items: int
    item_metadata: MetadataCounts = MetadataCounts()
    user_metadata: MetadataCounts = MetadataCounts()

    def to_json(self) -> dict[str, int]:
        """The counts by their names on disk, sorted."""
        counts = self.model_dump(exclude={"log", "test", "item_metadata", "user_metadata"}) | self.log.to_json()
        if self.test is not None:
            counts |= {f"test {name}": count for name, count in self.test.to_json().items()}
        counts |= self.item_metadata.to_json("items") | self.user_metadata.to_json("users")
        return dict(sorted(counts.items()))

    @staticmethod
    def from_json(counts: dict[str, int]) -> "BuildStatistics":
        """The inverse of ``to_json``."""
        test = {name.removeprefix("test "): count for name, count in counts.items() if name.startswith("test ")}
        return BuildStatistics(
            **{name: counts[name] for name in SplitCounts.model_fields},
            log=LogCounts.from_json(counts),
            test=LogCounts.from_json(test) if test else None,
            items=counts["items"],
            trained_items=counts["trained_items"],
            item_metadata=MetadataCounts.from_json(counts, "items"),
            user_metadata=MetadataCounts.from_json(counts, "users"),
        )


class DatasetManifest(BaseModel, frozen=True):
    """What a finished dataset says about itself."""

    log: str
    """The fingerprint of the events and of how they are split: datasets that agree in it train on the same events."""
    digest: str
    """The fingerprint of everything that the dataset depends on."""
    config: Config
    statistics: BuildStatistics
    encoder: str
    """``Encoder.content_hash()``."""

    def write(self, folder: Path) -> None:
        """Write ``folder/manifest.json``, which declares the dataset finished."""
        head = {"artifact": ARTIFACT, "format": FORMAT, "statistics": self.statistics.to_json()}
        write_json(folder / _FILE, self.model_dump(exclude={"statistics"}) | head)

    @staticmethod
    def read(folder: Path) -> "DatasetManifest":
        """Read what ``write`` wrote.

        Raises:
            InputError: There is no finished dataset, or it is of another format.
        """
        manifest: Any = read_json(folder / _FILE) if (folder / _FILE).is_file() else {}
        if not isinstance(manifest, dict) or manifest.get("artifact") != ARTIFACT:
            raise InputError(f"no dataset at {folder}; expected the folder that `recsys build --out` wrote")
        if manifest["format"] != FORMAT:
            raise InputError(f"dataset {folder} has format {manifest['format']}, expected {FORMAT}: build it again")
        try:
            return DatasetManifest(**manifest | {"statistics": BuildStatistics.from_json(manifest["statistics"])})
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise InputError(
                f"dataset {folder} has a manifest of another release ({str(error).splitlines()[0]}): build it again"
            ) from error
