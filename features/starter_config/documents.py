"""Tables of passages, cut from Markdown and text files, and of the queries that are to find them.

With questions, each a text and what answers it, the questions are the queries. Without, headings are: a writer has put
a few words above every passage that say what it is about. A heading would find its own passage by itself, so these
passages are trained on without their headings.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.errors import InputError, reason

from .pairs import ids_of, numbered
from .passages import cut

MARKDOWN, PLAIN = (".md", ".markdown", ".mdown"), (".txt", ".text")
ENDINGS = (*MARKDOWN, *PLAIN)
SCHEMA = pl.Schema({
    "item_id": pl.String, "title": pl.String, "body": pl.String, "file": pl.String,
    "first_line": pl.Int64, "last_line": pl.Int64,
})  # fmt: skip


@dataclass(frozen=True)
class Documents:
    """Passages of files.

    Attributes:
        passages: item_id, title (the headings), body (the text without them), file, first_line, last_line.
        num_files: How many files they come from.
        num_others: How many files of the folders were not read, for their endings.
        name: What the documents are called: their folder, or the first file.
    """

    passages: pl.DataFrame
    num_files: int
    num_others: int
    name: str

    @property
    def items(self) -> pl.DataFrame:
        """The passages as they are searched: the headings are in front of the text, too."""
        return self._items(pl.concat_str("title", "body", separator="\n\n"))

    @property
    def without_headings(self) -> pl.DataFrame:
        """The same passages as headings are trained to find them."""
        return self._items(pl.col("body"))

    def headings(self) -> dict[str, pl.DataFrame]:
        """The distinct headings as users, and which passages stand under each as events."""
        users = numbered(self.passages["title"], "user_id", "q")
        of_passages = ids_of(self.passages["title"], users)
        return {"events": pl.DataFrame([of_passages, self.passages["item_id"]]), "users": users}

    def questions(self, pairs: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Questions as users, and which passages answer each as events.

        pairs: query and document: a text that a passage has or that has a passage, an id of a passage, or a file.

        Raises:
            InputError: No document is any of it.
        """
        known = pairs.with_columns(pl.all().fill_null("").str.strip_chars()).filter(pl.all_horizontal(pl.all() != ""))
        bodies = dict(zip(self.passages["item_id"], map(_folded, self.passages["body"]), strict=True))
        answered = [(query, item) for query, answer in known.rows() for item in self._of(answer, bodies)]
        if not answered:
            raise InputError(
                f"none of the {pairs.height:,} answers is in a passage; expected a text of the documents, an id such "
                f"as {self.passages['item_id'][0]!r}, or a file such as {self.passages['file'][0]!r}"
            )
        table = pl.DataFrame(answered, schema={"text": pl.String, "item_id": pl.String}, orient="row")
        users = numbered(table["text"], "user_id", "q")
        events = pl.DataFrame([ids_of(table["text"], users), table["item_id"]]).unique(maintain_order=True)
        return {"events": events, "users": users}

    def _of(self, answer: str, bodies: dict[str, str]) -> list[str]:
        """The ids of the passages that an answer names, has or is a part of."""
        named = self.passages.filter((pl.col("item_id") == answer) | (pl.col("file") == answer))
        if named.height:
            return named["item_id"].to_list()
        wanted = _folded(answer)
        return [item for item, body in bodies.items() if wanted in body or body in wanted]

    def _items(self, text: pl.Expr) -> pl.DataFrame:
        return self.passages.select("item_id", "title", text.alias("text"), "file", "first_line", "last_line")


def is_document(path: Path) -> bool:
    """Whether a path is cut into passages: a folder, or a file of one of ``ENDINGS``."""
    return path.is_dir() or path.suffix.lower() in ENDINGS


def read_documents(paths: Sequence[Path]) -> Documents:
    """Read files, and all that folders hold, and cut them into passages.

    Files and folders whose names begin with a dot are left out. An id is the file, from the folder that holds all
    paths, and the lines: "docs/serving.md:12-34".

    Raises:
        InputError: There is nothing to read, or a file is not text.
    """
    given = [path.resolve() for path in dict.fromkeys(paths)]
    root = Path(os.path.commonpath([path.parent for path in given]))
    files, num_others = [], 0
    for path in given:
        if not path.exists():
            raise InputError(f"{path} does not exist; expected a folder of documents, or a file")
        inside = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if _is_visible(file, path)]
        files += [file for file in inside if is_document(file)]
        num_others += sum(not is_document(file) for file in inside)
    shown = ", ".join(str(path) for path in paths)
    if not files:
        raise InputError(f"no document in {shown}; expected files that end in {', '.join(ENDINGS)}")
    rows = [row for file in sorted(set(files)) for row in _rows(file, file.relative_to(root).as_posix())]
    if not rows:
        raise InputError(
            f"no text in the {len(set(files)):,} documents of {shown}; expected paragraphs, not headings alone"
        )
    passages = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return Documents(passages, len(set(files)), num_others, given[0].name.split(".")[0] or "documents")


def _is_visible(file: Path, folder: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _rows(file: Path, name: str) -> list[tuple[str, str, str, str, int, int]]:
    """The passages of one file as rows of a table."""
    rows, seen = [], dict[str, int]()
    for passage in cut(_text_of(file), _readable(file.stem), is_markdown=file.suffix.lower() in MARKDOWN):
        lines = f"{name}:{passage.first_line}-{passage.last_line}"
        seen[lines] = seen.get(lines, 0) + 1  # a very long line makes several passages
        item_id = lines if seen[lines] == 1 else f"{lines}#{seen[lines]}"
        rows.append((item_id, passage.title, passage.text, name, passage.first_line, passage.last_line))
    return rows


def _text_of(file: Path) -> str:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text in UTF-8 ({reason(error)}); convert it, or leave it out") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read ({reason(error)})") from error
    if "\0" in text:
        raise InputError(f"{file} is not text: it holds a zero byte; leave it out")
    return text


def _readable(stem: str) -> str:
    return stem.replace("-", " ").replace("_", " ").strip() or stem


def _folded(text: str) -> str:
    """A text as it is compared: without the case of letters, and with one space between words."""
    return " ".join(text.casefold().split())
