import numpy as np
import torch

from recsys.model.embedding_tables import INIT_STD
from recsys.model.text_map import TextMap


def test_unit_vectors_become_as_long_as_id_embeddings_and_keep_their_inner_products():
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(50, 24), dim=1)
    text_map = TextMap(24, 32)
    random = text_map(vectors)
    np.testing.assert_allclose(random.norm(dim=1).mean().item(), INIT_STD * 32**0.5, rtol=0.1)
    directions = np.zeros((32, 24))
    directions[:24] = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0]
    text_map.start_at(directions)
    mapped = text_map(vectors)
    scale = INIT_STD**2 * 32
    torch.testing.assert_close(mapped @ mapped.T, vectors @ vectors.T * scale)


def test_the_gradient_reaches_the_weights():
    text_map = TextMap(3, 2)
    text_map(torch.ones(4, 3)).sum().backward()
    assert text_map.weight.grad.abs().min() > 0
