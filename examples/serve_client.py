"""Ask a service for recommendations, with nothing but Python's own library.

    python examples/serve_client.py http://127.0.0.1:8000 i00007 i00012

A busy service answers 503 and says after how many seconds it is worth asking again; this client does so, a few times.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

TRIES = 4


def recommend(address: str, history: list[str], k: int = 5) -> dict:
    """The best items for a history, with their titles."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("RECSYS_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"history": history, "k": k, "columns": ["title"]}).encode()
    for tries_left in reversed(range(TRIES)):
        try:
            request = urllib.request.Request(f"{address}/v1/recommend", body, headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503 or not tries_left:
                raise SystemExit(f"{error.code}: {json.load(error)['error']}") from None
            time.sleep(float(error.headers["Retry-After"]))
    raise AssertionError


if __name__ == "__main__":
    answer = recommend(sys.argv[1], sys.argv[2:])
    for item in answer["items"]:
        print(f"{item['item_id']}  {item['score']:6.3f}  {item['title']}")
    if answer["reason"]:
        print(answer["reason"])
