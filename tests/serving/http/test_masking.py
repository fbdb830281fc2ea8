"""What is out of stock is put by HTTP, and in nobody's answer from then on."""


def test_masked_items_are_in_no_answer_and_every_answer_says_its_mask(client, retriever):
    def recommended():
        return client.post("/v1/recommend", json={"history": ["i00001"], "k": 3}).json()

    before = recommended()
    gone = before["items"][0]["item_id"]
    put = client.put("/v1/mask", json={"item_ids": [gone]}).json()
    assert put == client.get("/v1/mask").json() == {"version": before["mask_version"] + 1, "item_ids": [gone]}
    after = recommended()
    assert (after["mask_version"], len(after["items"])) == (put["version"], 3)
    assert gone not in [item["item_id"] for item in after["items"]]
    similar = client.post("/v1/similar", json={"item_id": "i00001", "k": 199}).json()
    assert gone not in [item["item_id"] for item in similar["items"]]
    client.put("/v1/mask", json={"item_ids": []})
    assert recommended()["items"] == before["items"]


def test_ids_that_can_never_match_are_refused_and_change_nothing(client):
    before = client.get("/v1/mask").json()
    assert client.put("/v1/mask", json={"item_ids": [7]}).status_code == 400
    assert client.put("/v1/mask", json={"item_ids": ["x"] * 200_001}).status_code == 422
    assert client.get("/v1/mask").json() == before
