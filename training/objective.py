"""The contrastive loss of one training step."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from recsys.config import Config
from recsys.data import Dataset

from .loader import Loader, Step
from .loss import sampled_softmax, sorted_rows
from .negatives import NegativeSampler, log_expected
from .recipe import Recipe


class Objective:
    """The contrastive loss of one step: the pool of negatives and what is expected in it, built once."""

    def __init__(self, config: Config, recipe: Recipe, dataset: Dataset, loader: Loader, device: torch.device) -> None:
        counts = dataset.item_counts[: dataset.encoder.num_trained + 1]
        self.in_batch, self.negative_exponent = config.loss.in_batch, recipe.negative_exponent
        self.num_members = recipe.model.num_members
        self.own_items = None
        if recipe.mask_history:
            offsets, values = sorted_rows(loader.histories)
            self.own_items = offsets.to(device), values.to(device)
        self.drawn = loader.sampler
        self.batch = NegativeSampler.from_counts(counts, 1.0) if self.in_batch else None

    def __call__(self, model: torch.nn.Module, step: Step) -> Tensor:
        """Mean loss over tokens and members; the model's matrix products may be bf16, the loss is float32."""
        with torch.autocast(step.labels.device.type, torch.bfloat16, enabled=step.labels.is_cuda):
            items_MV, users_TV, temperature = model(step.batch)
        rows_M = step.batch.rows
        pool_N = torch.cat([step.negatives, step.labels]) if self.in_batch else step.negatives
        ids_N = rows_M[pool_N]
        expected_N = log_expected(
            self.drawn, len(step.negatives), self.batch, len(step.labels), rows_N=ids_N.cpu().numpy()
        )
        vectors = (users_TV, embedding(step.labels, items_MV), embedding(pool_N, items_MV))
        losses = [
            sampled_softmax(
                users_TD,
                positives_TD,
                negatives_ND,
                rows_M[step.labels],
                ids_N,
                torch.from_numpy(expected_N).to(users_TD),
                temperature=temperature / self.num_members,  # whose part of the score is as much smaller
                negative_exponent=self.negative_exponent,
                own_T=step.own,
                own_items=self.own_items,
            ).mean()
            for users_TD, positives_TD, negatives_ND in zip(
                *(each.float().chunk(self.num_members, dim=1) for each in vectors), strict=True
            )
        ]
        return torch.stack(losses).mean()
