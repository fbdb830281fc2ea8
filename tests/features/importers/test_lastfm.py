import datetime


def test_the_collection_of_360_000_users(import_files):
    files = {
        "usersha1-artmbid-artname-plays.tsv": "00aa\t3bd7\tbetty \"b\t2137\n00aa\t\tdie Ärzte\t1099\n\t3bd7\tx\t1\n",
        "usersha1-profile.tsv": "00aa\tf\t22\tGermany\tFeb 1, 2007\n",
    }  # fmt: skip
    lastfm = import_files("lastfm", files, as_folder=True)
    assert lastfm.events.rows() == [("00aa", "3bd7", 2137.0), ("00aa", "die Ärzte", 1099.0)]
    assert lastfm.items.rows() == [("3bd7", 'betty "b'), ("die Ärzte", "die Ärzte")]
    assert lastfm.users.rows() == [("00aa", "f", 22.0, "Germany")]
    assert lastfm.config.data.time is None
    assert "events: artists without an id, whose name is taken: 1" in lastfm.notes


def test_the_collection_of_1_000_users(import_files):
    files = {
        "userid-timestamp-artid-artname-traid-traname.tsv": "user_1\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\tAir\n",
        "userid-profile.tsv": "#id\tgender\tage\tcountry\tregistered\nuser_1\tm\t\tJapan\tAug 13, 2006\n",
    }
    lastfm = import_files("lastfm", files, as_folder=True)
    assert lastfm.events.rows() == [("user_1", "f1b1", datetime.datetime(2009, 5, 4, 23, 8, 57))]
    assert lastfm.items.rows() == [("f1b1", "Deep Dish")]
    assert lastfm.users.rows() == [("user_1", "m", None, "Japan")]


def test_hetrec(import_files):
    files = {
        "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13883\n",
        "artists.dat": "id\tname\turl\n51\tDuran\thttp\n52\tUnheard\thttp\n",
    }
    lastfm = import_files("lastfm", files, as_folder=True)
    assert lastfm.events.rows() == [("2", "51", 13883.0)]
    assert lastfm.items.rows() == [("51", "Duran"), ("52", "Unheard")]
