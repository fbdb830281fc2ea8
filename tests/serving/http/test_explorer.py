"""The page: what it asks, and what it shows in a browser."""

import asyncio
import shutil
import subprocess

import httpx
import polars as pl
import pytest
from fastapi import FastAPI

from serving.http.explorer import make_explorer
from serving.service import BusyError


def test_the_page_loads_nothing_foreign_and_all_its_files_are_there(client):
    page = client.get("/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    for name in ("app.js", "api.js", "combobox.js", "lists.js", "map.js", "style.css", "icon.svg"):
        assert client.get(f"/page/{name}").status_code == 200
    assert client.get("/page/..%2Fapp.py").status_code in (400, 404)


def test_about_says_who_answers_and_which_filters_make_sense(client, retriever):
    about = client.get("/page/about").json()
    assert (about["bundle_id"], about["title"]) == (retriever.bundle_id, "title")
    kinds = {column["name"]: (column["kind"], bool(column["values"])) for column in about["columns"]}
    assert kinds == {
        "title": ("text", False),
        "genre": ("text", True),
        "tags": ("list", True),
        "year": ("number", False),
    }


def test_users_and_items_are_found_by_a_part_of_their_names(client, small_run):
    assert client.get("/page/users", params={"text": "u00"}).json()
    assert client.get("/page/users", params={"text": "nobody"}).json() == []
    title = small_run.items["title"][0]
    found = client.get("/page/items", params={"text": title.upper()}).json()
    assert title in [item["title"] for item in found]


def test_a_history_is_shown_with_the_latest_first(client, small_run):
    user = small_run.events["user_id"][0]
    log = small_run.events.sort("timestamp", maintain_order=True)
    latest = log.filter(log["user_id"] == user)["item_id"].reverse().to_list()
    shown = client.get("/page/history", params={"user_id": user}).json()
    assert [item["item_id"] for item in shown] == latest
    assert client.get("/page/history", params={"user_id": "nobody"}).json() == []


def test_reasons_similar_items_and_words_are_the_retriever_s(client, retriever):
    history, item = ["i00001", "i00002"], "i00003"
    expected = retriever.explain(history, item).contributions.head(2).filter(pl.col("contribution") > 0)
    (why,) = client.post("/page/reasons", json={"history": history, "item_ids": [item]}).json()
    assert [reason["item_id"] for reason in why] == expected["item_id"].to_list()
    similar = client.get("/page/similar", params={"item_id": item, "k": 4}).json()
    assert [one["item_id"] for one in similar["items"]] == retriever.similar_items([item], k=4).item_ids[0].to_list()
    words = client.post("/page/search", json={"text": "harbour", "k": 3}).json()
    assert [one["item_id"] for one in words["items"]] == retriever.search_text(["harbour"], k=3).item_ids[0].to_list()


def test_what_is_not_there_is_one_line(client):
    assert "no map" in client.get("/page/map").json()["error"]
    response = client.post("/page/previous", json={"history": ["i00001"]})
    assert (response.status_code, "before this one" in response.json()["error"]) == (400, True)


def test_all_that_the_page_asks_waits_in_the_queue_of_lookups(service):
    """So it is refused where that is full, and recommendations go on beside it."""

    class FullQueue:
        async def ask(self, lookup):
            raise BusyError("the queue is full")

    app = FastAPI()
    app.include_router(make_explorer(service, FullQueue()))
    history = {"history": ["i00001"]}
    asked = [
        ("GET", path, None) for path in ("about", "users", "items", "history?user_id=u", "map", "similar?item_id=i")
    ]
    asked += [("POST", "previous", history), ("POST", "reasons", history | {"item_ids": []}),
              ("POST", "search", {"text": "sea"})]  # fmt: skip

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page") as client:
            for method, path, body in asked:
                with pytest.raises(BusyError):
                    await client.request(method, f"/page/{path}", json=body)

    asyncio.run(ask())


def test_a_browser_shows_history_and_recommendations(client, retriever, small_run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser: install Debian's chromium to test the page")
    user = small_run.events["user_id"][0]
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
               "--virtual-time-budget=8000", f"{client.base_url}/#user={user}"]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "small" in shown or "bundle" in shown
    titles = retriever.titles_of(retriever.recommend(user_ids=[user], k=12).item_ids[0])
    assert all(title in shown for title in titles)
    assert "Because of" in shown
    assert "No map of the items" in shown or "no map of the items" in shown
