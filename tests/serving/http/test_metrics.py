"""The figures follow what is asked."""

import re

from serving.http.metrics import Metrics
from serving.service import Answer


def figures(client):
    return dict(re.findall(r"^([^#\n]+) (\S+)$", client.get("/metrics").text, flags=re.MULTILINE))


def test_answers_batches_and_fallbacks_are_counted(client):
    before = figures(client)
    client.post("/v1/recommend", json={"history": ["i00001"]})
    client.post("/v1/recommend", json={"history": []})
    client.post("/v1/recommend", json={"history": [], "k": 0})
    client.get("/some/path")
    after = figures(client)

    def added(name):
        return float(after[name]) - float(before.get(name, 0))

    assert added('recsys_request_seconds_count{path="/v1/recommend"}') == 3
    assert added('recsys_responses_total{path="/v1/recommend",status="200"}') == 2
    assert added('recsys_responses_total{path="/v1/recommend",status="422"}') == 1
    assert added('recsys_responses_total{path="other",status="404"}') == 1
    assert added('recsys_fallbacks_total{reason="fallback"}') == 1
    assert added("recsys_batch_size_sum") == 2
    assert after["recsys_queue_length"] == "0.0"
    assert float(after["recsys_version_age_seconds"]) > 0
    assert not any("some/path" in name for name in after)


def test_a_short_answer_counts_by_its_kind():
    metrics = Metrics()
    metrics.recommended(Answer(None, None, "fallback: a, b; short: only 3 eligible items", None))
    metrics.recommended(Answer(None, None, "short: only 4 eligible items", None))
    page = metrics.page().decode()
    assert 'recsys_fallbacks_total{reason="short"} 2.0' in page
    assert 'recsys_fallbacks_total{reason="fallback"} 1.0' in page
