import datetime


def test_purchases_articles_and_customers(import_files):
    files = {
        "transactions_train.csv": "t_dat,customer_id,article_id,price\n2018-09-20,000058a,0663713001,0.05\n",
        "articles.csv": 'article_id,prod_name,product_type_name,detail_desc\n0663713001,Top,Vest top,"Soft, light"\n',
        "customers.csv": "customer_id,FN,club_member_status,age\n000058a,,ACTIVE,49\n000058b,1,,\n",
    }
    hm = import_files("hm", files, as_folder=True)
    assert hm.events.rows() == [("000058a", "0663713001", 0.05, datetime.datetime(2018, 9, 20))]
    assert hm.items.rows() == [("0663713001", "Top", "Vest top", "Soft, light")]
    assert hm.users.rows() == [("000058a", 49.0, "ACTIVE"), ("000058b", None, None)]
    assert hm.features == {"title", "product_type_name", "description"}
    assert hm.config.data.users
