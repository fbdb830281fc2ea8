"""H&M: purchases, articles and customers of the competition on Kaggle. Ids are text: articles begin with a 0."""

from collections.abc import Sequence
from pathlib import Path

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

TEXTS = (
    "product_type_name", "product_group_name", "graphical_appearance_name", "colour_group_name", "department_name",
    "index_name", "section_name", "garment_group_name",
)  # fmt: skip
LAYOUTS = (
    Layout(
        "events",
        "transactions*.csv",
        (
            Column("user_id", "id", ("customer_id",), required=True),
            Column("item_id", "id", ("article_id",), required=True),
            Column("price", "number", ("price",)),
            Column("timestamp", "time", ("t_dat",), required=True, formats=("%Y-%m-%d",)),
        ),
        separator=",",
    ),
    Layout(
        "items",
        "articles.csv",
        (
            Column("item_id", "id", ("article_id",), required=True),
            Column("title", "text", ("prod_name",), required=True),
            *(Column(name, "text", (name,)) for name in TEXTS),
            Column("description", "text", ("detail_desc",)),
        ),
        separator=",",
    ),
    Layout(
        "users",
        "customers.csv",
        (
            Column("user_id", "id", ("customer_id",), required=True),
            Column("age", "number", ("age",), required=True),
            Column("club_member_status", "text", ("club_member_status",)),
            Column("fashion_news_frequency", "text", ("fashion_news_frequency",)),
        ),
        separator=",",
    ),
)


def read_hm(paths: Sequence[Path], scratch: Path) -> Download:
    """Read purchases and, optionally, articles and customers.

    Args:
        paths: Files of the download, gzipped or not, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds purchases.
    """
    tables = read_published("H&M", LAYOUTS, paths, scratch)
    return Download(
        tables.by_name["events"], tables.by_name.get("items"), tables.by_name.get("users"), tuple(tables.notes)
    )
