"""One registered version, and what must be known about it before it may be loaded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BUNDLE_TAG = "recsys.bundle_id"


@dataclass(frozen=True)
class Version:
    """One registered version. run_id: the MLflow run that holds its records. bundle_id: empty if nobody recorded it.

    created: in seconds since 1970.
    """

    name: str
    number: int
    run_id: str
    bundle_id: str
    tags: dict[str, str]
    created: float = 0.0

    @staticmethod
    def of(entity: "ModelVersion") -> "Version":
        """MLflow's version as ours."""
        tags, created = dict(entity.tags), entity.creation_timestamp / 1000
        return Version(entity.name, int(entity.version), entity.run_id or "", tags.get(BUNDLE_TAG, ""), tags, created)

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"

    def require_bundle_id(self) -> None:
        """Raise InputError unless the version says which bundle it is: without that, any would pass for it."""
        if not self.bundle_id:
            raise InputError(
                f"{self} has no tag {BUNDLE_TAG}, which says what bundle it is: recsys did not publish it, or the tag "
                "was deleted; publish it with `recsys publish`, or name another version"
            )

    def require_run(self) -> None:
        """Raise InputError unless the version names the run that holds its files."""
        if not self.run_id:
            raise InputError(
                f"{self} names no MLflow run, so it was registered by hand; publish it with `recsys publish`, or name "
                "another version"
            )
