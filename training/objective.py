"""The training objective: from a step's batch to one number to minimise."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from .description import TrainingDescription
from .loader import Loader, Step
from .loss import Mask, sampled_softmax
from .negatives import NegativePool, Negatives, NegativeSampler, OwnItems


class Objective:
    """The mean contrastive loss of a step. What does not change from step to step is built once."""

    def __init__(self, training: TrainingDescription, loader: Loader, device: torch.device) -> None:
        loss, recipe, dataset = training.config.loss, training.recipe, training.dataset
        counts = dataset.item_counts[: dataset.encoder.num_trained + 1]
        self.pool = NegativePool(loader.sampler, NegativeSampler.from_counts(counts, 1.0) if loss.in_batch else None)
        self.own_items = OwnItems.from_histories(loader.histories, device) if recipe.mask_history else None
        self.negative_exponent, self.num_members = recipe.negative_exponent, recipe.model.num_members

    def __call__(self, model: torch.nn.Module, step: Step) -> Tensor:
        """Mean loss over tokens and members. On a GPU the model's products are bf16; the loss is always float32."""
        with torch.autocast(step.labels.device.type, torch.bfloat16, enabled=step.labels.is_cuda):
            items_MV, users_TV, temperature = model(step.batch)
        rows_M = step.batch.rows
        pool_N = self.pool.members(step.negatives, step.labels)
        ids_N = rows_M[pool_N]
        log_expected = self.pool.log_expected(len(step.negatives), len(step.labels), ids_N.cpu().numpy())
        log_expected_N = torch.from_numpy(log_expected).to(users_TV.device, torch.float32)
        mask = Mask(rows_M[step.labels], step.own, self.own_items)
        vectors = (users_TV, embedding(step.labels, items_MV), embedding(pool_N, items_MV))
        losses = [
            sampled_softmax(
                users_TD,
                positives_TD,
                Negatives(ids_N, negatives_ND, log_expected_N),
                mask,
                temperature=temperature / self.num_members,  # a member's inner product is only its part of the score
                negative_exponent=self.negative_exponent,
            ).mean()
            for users_TD, positives_TD, negatives_ND in zip(
                *(part.float().chunk(self.num_members, dim=1) for part in vectors), strict=True
            )
        ]
        return torch.stack(losses).mean()
