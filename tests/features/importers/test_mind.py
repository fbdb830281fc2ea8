import pytest

TRAIN = (
    "1\tU1\t11/15/2019 10:22:32 AM\tN1 N2\tN3-0 N4-1\n"
    "2\tU2\t11/11/2019 3:10:00 PM\t\tN1-1 N2-1\n"
    "3\tU1\t11/16/2019 12:22:32 AM\tN1 N2\tN5-1 N6-0\n"
)
NEWS = 'N1\tsports\tgolf\tA "quoted title\tabs\thttp\t[]\t[]\n'


def test_clicks_have_their_time_and_histories_come_first(import_files):
    mind = import_files("mind", {"behaviors.tsv": TRAIN, "news.tsv": NEWS}, as_folder=True)
    assert [(user, item, str(time)) for user, item, time in mind.events.rows()] == [
        ("U1", "N1", "2019-11-11 15:09:58"), ("U1", "N2", "2019-11-11 15:09:59"), ("U1", "N4", "2019-11-15 10:22:32"),
        ("U2", "N1", "2019-11-11 15:10:00"), ("U2", "N2", "2019-11-11 15:10:00"), ("U1", "N5", "2019-11-16 00:22:32"),
    ]  # fmt: skip
    assert mind.items.rows() == [("N1", 'A "quoted title', "sports", "golf", "abs")]
    assert any(note.endswith("have no time and stand before 2019-11-11 15:10:00: 2") for note in mind.notes)
    assert mind.features == {"title", "category", "subcategory", "abstract"}


def test_the_test_set_says_nothing_of_clicks(import_files):
    with pytest.raises(ValueError, match="does not say what was clicked"):
        import_files("mind", {"behaviors.tsv": "1\tU1\t11/22/2019 10:22:32 AM\tN1\tN3 N4\n"})


def test_columns_in_another_order_are_refused(import_files):
    with pytest.raises(ValueError, match=r"begins with \('U1', '1', .*; expected events with 5 fields: impr"):
        import_files("mind", {"behaviors.tsv": "U1\t1\t11/15/2019 10:22:32 AM\tN1\tN3-1\n"})


def test_the_day_never_comes_first(import_files):
    with pytest.raises(ValueError, match="begins with"):
        import_files("mind", {"behaviors.tsv": "1\tU1\t15/11/2019 10:22:32 AM\tN1\tN3-1\n"})
