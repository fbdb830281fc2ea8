"""The commands that use a bundle: batch scores, one answer."""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import actions
from ..actions import Address, AllowEncoder, Device, Engine, EngineName, History, Queries, RegistryUri, Source, command
from .program import app

if TYPE_CHECKING:
    from ..actions import Outcome


@command(app, stages=3)
def score(
    *, bundle: Source, out: str, events: str | None = None, queries: Queries = None, items: str | None = None,
    users: str | None = None, k: int = 100, exclude_seen: bool = True, mask: Path | None = None,
    allow_encoder: AllowEncoder = None, device: Device = "auto", registry: RegistryUri = None,
    engine: EngineName = "local", address: Address = None,
) -> "Outcome":  # fmt: skip
    """Recommend to every user of a log or a queries file, as Parquet. Started again, it continues.

    Example: recsys score --bundle models:/recsys@champion --events events.parquet --out recs

    Args:
        out: the folder for the Parquet files, or an address in a bucket; the same inputs continue in it
        events: the full log up to today
        items: today's item metadata, if the bundle's is stale; new items join the catalogue
        users: today's user metadata, if the bundle's is stale; alone, without a log or queries, the users to score,
            who have no history, such as texts to find items for
        k: recommendations per user
        exclude_seen: leave out every item of a user's log, or of the history in --queries; --no-exclude-seen keeps them
        mask: a JSON file of items that nobody gets, such as {"version": 1, "item_ids": ["i00042"]}
    """
    return actions.score(  # by serving/batch_scoring.py
        bundle, out, events=events, queries=queries, items=items, users=users, k=k, exclude_seen=exclude_seen,
        mask=mask, allow_encoder=allow_encoder, device=device, registry=registry, engine=Engine(engine, address),
    )  # fmt: skip


@command(app, stages=3)
def recommend(
    *, bundle: Source, user: str | None = None, history: History = None, events: str | None = None, k: int = 10,
    allow_encoder: AllowEncoder = None, device: Device = "cpu", registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Look at one answer: the items with their titles and scores, and the items of the history that explain them.

    Example: recsys recommend --bundle run/bundle --user u00042 --events events.parquet

    Args:
        user: a user of the log in --events
        events: the log that has the user's history
        k: how many items
    """
    return actions.recommend(bundle, user, history, events, k, device, registry, allow_encoder)


@command(app, stages=1)
def serve(
    source: Source, *, events: str | None = None, items: str | None = None, host: str = "127.0.0.1",
    port: int = 8000, workers: int = 1, api_key: Path | None = None, mask: Path | None = None,
    log: Path | None = None, log_days: int = 30, log_users: bool = True,
    cache: Path = Path("~/.cache/recsys"), allow_encoder: AllowEncoder = None, device: Device = "cpu",
    registry: RegistryUri = None, engine: EngineName = "local", address: Address = None, max_workers: int | None = None,
) -> "Outcome":  # fmt: skip
    """Answer over HTTP, until a signal ends it. A new version of an alias takes over without a pause.

    Example: recsys serve models:/recsys@champion --events events.parquet

    Args:
        events: the log whose users are known by id; read again when it changes
        items: item metadata newer than the bundle's; read again when it changes
        host: the address to listen on; 0.0.0.0 for every network of this machine
        port: the port to listen on
        workers: processes that answer; they share the vectors' memory where the bundle comes from the registry
        api_key: a file with the key that callers must know; else RECSYS_API_KEY of the environment; else no key
        mask: the JSON file of items that nobody gets for now, which PUT /v1/mask writes; else one in the cache
        log: a folder for what is asked and answered, as Parquet; `recsys compare --queries` reads it
        log_days: after how many days a file of the log is deleted
        log_users: keep user ids and columns in the log; --no-log-users leaves them out
        cache: the folder where bundles are kept, for a start while the registry is down
        max_workers: with --engine ray, processes are added under load up to this many
    """
    return actions.serve(
        source, actions.Listening(host, port, workers, api_key, max_workers),
        actions.RequestLogging(log, log_days, log_users),
        events=events, items=items, mask=mask, cache=cache, allow_encoder=allow_encoder, device=device,
        registry=registry, engine=Engine(engine, address),
    )  # fmt: skip
