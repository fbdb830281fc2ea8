"""The plain pattern: FastAPI, an eager tower and a flat FAISS index, as a good backend engineer writes it.

    python -m benchmarks.serve.plain FOLDER PORT

One request is one forward pass. The endpoint is a plain function, which FastAPI runs in its pool of threads.
"""

import sys
from pathlib import Path

import faiss
import polars as pl
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from recsys.bundle import Bundle, load_bundle
from recsys.model import FeatureRows


class Request(BaseModel):
    user_id: int | None = None
    history: list[str] | None = None
    k: int = 10


class Item(BaseModel):
    item_id: str
    score: float


class Answer(BaseModel):
    items: list[Item]
    bundle_id: str


def make_app(folder: Path) -> FastAPI:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    bundle, bundle_id = load_bundle(folder / "bundle")
    assert isinstance(bundle, Bundle)
    ids, nothing = bundle.encoder.item_ids.to_list(), FeatureRows(None, None)
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    items = torch.tensor(bundle.item_vectors[1:])
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items.numpy())
    log = pl.read_parquet(folder / "events.parquet").group_by("user_id", maintain_order=True).agg("item_id")
    history_of = dict(zip(log["user_id"].to_list(), log["item_id"].to_list(), strict=True))
    app = FastAPI()

    @app.post("/v1/recommend")
    def recommend(request: Request) -> Answer:
        history = request.history or history_of[request.user_id]
        rows = [row_of[item_id] for item_id in history]
        with torch.inference_mode():
            user = bundle.model.encode_users(items[rows].unsqueeze(0), torch.tensor([len(rows)]), nothing)
        scores, found = index.search(user.numpy(), request.k + len(rows))
        seen = set(rows)
        best = [(ids[row], score) for row, score in zip(found[0].tolist(), scores[0].tolist(), strict=True)
                if row not in seen]  # fmt: skip
        return Answer(items=[Item(item_id=i, score=s) for i, s in best[: request.k]], bundle_id=bundle_id)

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False)
