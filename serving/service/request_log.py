"""What was asked and answered, as Parquet files from which any answer can be given again.

FOLDER/TIME-PROCESS-NUMBER.parquet   requests, a row each; whole from the moment that it is there
FOLDER/masks/VERSION.json            the masks that were kept

Logging never holds up or fails a request: what finds the queue full is dropped and counted.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys import files
from recsys.answers import Mask, Recommendations
from recsys.retriever import Query, Retriever

from .service import Answer

logger = logging.getLogger(__name__)
MAX_QUEUE = 5_000
ROTATE_SECONDS = 60.0
DAY = 86_400


@dataclass(frozen=True)
class _Entry:
    query: Query
    answer: Answer
    request_id: str
    time: float = field(default_factory=time.time)


class RequestLog:
    """Writes requests to a folder, on a thread of its own. Several processes may share the folder.

    Args:
        folder: Where the files go.
        days: After how many days a file is deleted.
        with_users: Whether to keep who asked: the user's id and columns. Without them, an answer for which the model
            read columns of the user cannot be given again.

    Attributes:
        dropped: How many requests were not logged.
    """

    def __init__(self, folder: Path, days: int = 30, with_users: bool = True) -> None:
        files.require_writable(folder)
        self._folder, self._days, self._with_users = folder, days, with_users
        self._queue: deque[_Entry] = deque()
        self._stop, self._number = threading.Event(), 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="logs requests")
        self._thread.start()

    def add(self, query: Query, answer: Answer, request_id: str) -> None:
        """Log a request; it is in a file after at most ROTATE_SECONDS."""
        if len(self._queue) >= MAX_QUEUE:
            self.dropped += 1
        else:
            self._queue.append(_Entry(query, answer, request_id))

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(min(ROTATE_SECONDS, 1.0)):
            full = len(self._queue) > MAX_QUEUE // 4
            if self._queue and (full or time.time() - self._queue[0].time > ROTATE_SECONDS):
                self._write()
        self._write()

    def _write(self) -> None:
        entries = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            for bundle_id in dict.fromkeys(entry.answer.served.bundle_id for entry in entries):
                self._write_file([entry for entry in entries if entry.answer.served.bundle_id == bundle_id])
            self._discard_old()
        except Exception:  # whatever it is, such as a full disk, the service answers on
            self.dropped += len(entries)
            logger.exception("%d requests are not logged", len(entries))

    def _write_file(self, entries: Sequence[_Entry]) -> None:
        for mask in {entry.answer.served.mask.version: entry.answer.served.mask for entry in entries}.values():
            path = _mask_path(self._folder, mask.version)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                mask.save(path)
        stamp = datetime.fromtimestamp(entries[0].time, UTC).strftime("%Y%m%dT%H%M%S")
        self._number += 1
        with files.replacing(self._folder / f"{stamp}-{os.getpid()}-{self._number}.parquet") as temporary:
            _table(entries, self._with_users).write_parquet(temporary)

    def _discard_old(self) -> None:
        for path in self._folder.glob("*.parquet"):
            if time.time() - path.stat().st_mtime > self._days * DAY:
                path.unlink(missing_ok=True)


def replay(folder: Path, table: pl.DataFrame, retriever: Retriever) -> list[Recommendations]:
    """Answer logged requests again, each as of its time and with the mask of then.

    Args:
        folder: The log's.
        table: Rows of its files.
        retriever: The bundle that answered; it need not know the users of any log.
    """
    answers = []
    for row in table.iter_rows(named=True):
        mask = Mask.at(_mask_path(folder, row["mask_version"]))
        of_then = retriever.limited(clock=row["time"].timestamp, mask=mask)
        where, user, per = (json.loads(row[name]) for name in ("where", "user", "per"))
        answers.append(of_then.answer([Query(
            history=row["history"], user_id=row["user_id"], user=user, k=row["k"], exclude_seen=row["exclude_seen"],
            exclude=row["exclude"], only=row["only"], where=where, per=per, diversity=row["diversity"],
        )]))  # fmt: skip
    return answers


def _mask_path(folder: Path, version: int) -> Path:
    return folder / "masks" / f"{version}.json"


def _table(entries: Sequence[_Entry], with_users: bool) -> pl.DataFrame:
    """The rows of one bundle's answers."""
    encoder = entries[0].answer.served.retriever.bundle.encoder
    ids, users = pl.List(encoder.item_ids.dtype), encoder.id_types["user_id"]
    queries, answers = [entry.query for entry in entries], [entry.answer for entry in entries]
    return pl.DataFrame([
        pl.Series("time", [datetime.fromtimestamp(entry.time, UTC) for entry in entries], pl.Datetime("us", "UTC")),
        pl.Series("request_id", [entry.request_id for entry in entries], pl.String),
        pl.Series("user_id", [query.user_id if with_users else None for query in queries], users, strict=False),
        pl.Series("history", [_resolved(query, answer) for query, answer in zip(queries, answers, strict=True)], ids),
        pl.Series("user", [json.dumps(query.user if with_users else None) for query in queries], pl.String),
        pl.Series("k", [query.k for query in queries], pl.Int32),
        pl.Series("exclude_seen", [query.exclude_seen for query in queries], pl.Boolean),
        pl.Series("exclude", [query.exclude for query in queries], ids, strict=False),
        pl.Series("only", [query.only for query in queries], ids, strict=False),
        pl.Series("where", [json.dumps(query.where) for query in queries], pl.String),
        pl.Series("per", [json.dumps(query.per) for query in queries], pl.String),
        pl.Series("diversity", [query.diversity for query in queries], pl.Float64),
        pl.Series("item_ids", [answer.item_ids.to_list() for answer in answers], ids),
        pl.Series("scores", [answer.scores.to_list() for answer in answers], pl.List(pl.Float32)),
        pl.Series("reason", [answer.reason for answer in answers], pl.String),
        pl.Series("bundle_id", [answer.served.bundle_id for answer in answers], pl.String),
        pl.Series("version", [answer.served.version for answer in answers], pl.Int64),
        pl.Series("mask_version", [answer.served.mask.version for answer in answers], pl.Int64),
    ])  # fmt: skip


def _resolved(query: Query, answer: Answer) -> list[object]:
    """The history that was read, in raw ids: the request's or the log's, then what was recent."""
    encoder, known = answer.served.retriever.bundle.encoder, answer.served.retriever.known_users
    history: list[object] = [] if query.history is None else list(query.history)
    if query.history is None and query.user_id is not None and known is not None:
        user = pl.Series([query.user_id]).cast(encoder.id_types["user_id"], strict=False)
        positions = known.take(known.rows(user)).values
        history = encoder.ids(positions[positions > 0]).to_list()
    return history + ([] if query.recent is None else list(query.recent))
