def test_events_with_the_last_category_of_each_item(import_files):
    header = "timestamp,itemid,property,value\n"
    files = {
        "events.csv": "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n1433224214164,992329,transaction,248676,5\n",
        "item_properties_part1.csv": f"{header}1441508400000,355908,categoryid,1338\n1435460400000,355908,888,n1 n2\n",
        "item_properties_part2.csv": f"{header}1435460400000,355908,categoryid,1339\n",
        "category_tree.csv": "categoryid,parentid\n1338,213\n1339,\n",
    }
    shop = import_files("retailrocket", files, as_folder=True)
    assert shop.events.rows() == [
        ("257597", "355908", "view", 1433221332117), ("992329", "248676", "transaction", 1433224214164),
    ]  # fmt: skip
    assert shop.items.rows() == [("355908", "1338", "213")]
    assert shop.features == {"category", "parent_category"}


def test_columns_in_another_order(import_files):
    shop = import_files("retailrocket", {"events.csv": "itemid,event,visitorid,timestamp\n1,view,2,1433221332117\n"})
    assert shop.events.rows() == [("2", "1", "view", 1433221332117)]
