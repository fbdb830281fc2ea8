"""A first configuration, suggested by looking at the user's files, with the tables that pairs of texts make."""

from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..errors import InputError
from ..progress import stage
from .outcome import Outcome, next_command


class Initialised(Outcome, frozen=True):
    """A configuration that was written. found, undecided: what was found, and what only the user can decide."""

    config: Path
    found: list[str]
    undecided: list[str]

    def lines(self) -> list[str]:
        """What was found and why, where the configuration is, and what is to be decided in it."""
        return [*self.found, *(f"undecided: {line}" for line in self.undecided), f"configuration: {self.config}"]


def init(
    paths: Sequence[Path], out: Path, user_id: str | None, item_id: str | None, time: str | None, chunk: bool = False
) -> Outcome:
    """Look at files and write a configuration.

    Args:
        paths: The files.
        out: The configuration to write.
        user_id, item_id, time: Columns; None for those to be found.
        chunk: The files are documents, to be cut into passages.
    """
    from features.starter_config import NamedColumns, suggest_config, suggest_for_passages

    named = NamedColumns(user_id, item_id, time)
    if out.exists():
        raise InputError(f"{out} exists; choose another --out or remove it")
    if chunk and named != NamedColumns():
        raise InputError("--chunk reads documents, which have no columns; leave out --user-id, --item-id and --time")
    with stage("look at the files"):
        suggested = suggest_for_passages(paths, out) if chunk else suggest_config(paths, out, named)
    for name in suggested.tables:
        if (path := out.parent / name).exists():
            raise InputError(f"{path} exists; choose another folder with --out or remove it")
    for name, table in suggested.tables.items():
        with files.replacing(out.parent / name) as temporary:
            table.write_parquet(temporary)
    with files.replacing(out) as temporary:
        temporary.write_text(suggested.toml, "utf-8")
    return Initialised(
        config=out,
        found=suggested.found,
        undecided=suggested.undecided,
        exit_code=2 if suggested.undecided else 0,
        next=None if suggested.undecided else next_command("run", config=out, out="run"),
    )
