"""The version history of a model: which version became champion when, and why."""

from pydantic import BaseModel, ConfigDict


class VersionChange(BaseModel):
    """A change of champion.

    at: ISO 8601, UTC. action: "promoted" or "rolled back to". version, instead_of: the numbers of the new champion and
    of the one before it, if any. dataset: the digest of the data that the version was trained on.
    """

    model_config = ConfigDict(frozen=True)

    at: str
    action: str
    version: int
    instead_of: int | None
    why: str
    bundle_id: str
    dataset: str
