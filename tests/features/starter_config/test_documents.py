import polars as pl
import pytest

from features.starter_config.documents import read_documents


@pytest.fixture
def folder(tmp_path):
    """Two pages, a text, and what is not read."""
    files = {
        "docs/a.md": "# Tools\n\n## Hammer\nDrives nails.\n\n## Saw\nCuts wood.\n",
        "docs/deep/read_me.txt": "Plain words.\n",
        "docs/.hidden/c.md": "# C\nno\n",
        "docs/data.csv": "a,b\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path / "docs"


def test_a_folder_is_read_in_order_with_ids_that_lead_back(folder):
    documents = read_documents([folder])
    assert (documents.num_files, documents.num_others, documents.name) == (2, 1, "docs")
    assert documents.items.rows() == [
        ("docs/a.md:4-4", "Tools > Hammer", "Tools > Hammer\n\nDrives nails.", "docs/a.md", 4, 4),
        ("docs/a.md:7-7", "Tools > Saw", "Tools > Saw\n\nCuts wood.", "docs/a.md", 7, 7),
        ("docs/deep/read_me.txt:1-1", "read me", "read me\n\nPlain words.", "docs/deep/read_me.txt", 1, 1),
    ]
    assert documents.without_headings["text"].to_list() == ["Drives nails.", "Cuts wood.", "Plain words."]
    assert documents.items.equals(read_documents([folder / "deep", folder, folder]).items)


def test_pieces_of_one_line_have_ids_of_their_own(tmp_path):
    (tmp_path / "long.md").write_text("word " * 450)
    ids = read_documents([tmp_path / "long.md"]).items["item_id"].to_list()
    assert ids == ["long.md:1-1", "long.md:1-1#2", "long.md:1-1#3"]


def test_headings_are_queries_for_all_that_stands_below(tmp_path):
    (tmp_path / "a.md").write_text(f"# A\n{'one ' * 200}\n\n{'two ' * 200}\n# B\nthree\n")
    tables = read_documents([tmp_path / "a.md"]).headings()
    assert tables["users"].rows() == [("q000001", "A"), ("q000002", "B")]
    assert tables["events"].rows() == [
        ("q000001", "a.md:2-2"), ("q000001", "a.md:4-4"), ("q000002", "a.md:6-6"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("drives  NAILS", ["docs/a.md:4-4"]),
        ("First: drives nails. Then: cuts wood.", ["docs/a.md:4-4", "docs/a.md:7-7"]),
        ("docs/a.md:7-7", ["docs/a.md:7-7"]),
        ("docs/a.md", ["docs/a.md:4-4", "docs/a.md:7-7"]),
    ],
)
def test_an_answer_is_a_text_a_passage_or_a_file(folder, answer, expected):
    pairs = pl.DataFrame({"query": ["how?", "", "what?"], "document": [answer, answer, None]})
    tables = read_documents([folder]).questions(pairs)
    assert tables["users"].rows() == [("q000001", "how?")]
    assert tables["events"].rows() == [("q000001", item) for item in expected]


def test_answers_that_no_passage_has_are_refused(folder):
    with pytest.raises(ValueError, match=r"none of the 1 answers is in a passage; expected .*'docs/a.md:4-4'"):
        read_documents([folder]).questions(pl.DataFrame({"query": ["how?"], "document": ["elsewhere"]}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a", "no document in .*; expected files that end in .md, "),
        ("a.md", b"\xff\xfe\x00", "a.md is not text in UTF-8 .*; convert it, or leave it out"),
        ("a.txt", b"a\0b", "a.txt is not text: it holds a zero byte"),
        ("a.md", b"# Heading", "no text in the 1 documents of .*; expected paragraphs, not headings alone"),
    ],
)
def test_bad_folders_get_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_documents([tmp_path])
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="missing does not exist"):
        read_documents([tmp_path / "missing"])
