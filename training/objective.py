"""The training objective: from a step's batch to one number to minimise."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from .batches import Loader, Negatives, OwnItems, Step
from .description import TrainingDescription
from .loss import Mask, sampled_softmax


class Objective:
    """The mean contrastive loss of a step. What does not change from step to step is built once."""

    def __init__(self, training: TrainingDescription, loader: Loader, device: torch.device) -> None:
        recipe = training.recipe
        self.own_items = OwnItems.from_histories(loader.histories.whole(), device) if recipe.mask_history else None
        self.negative_exponent, self.num_members = recipe.negative_exponent, recipe.model.num_members

    def __call__(self, model: torch.nn.Module, step: Step) -> Tensor:
        """Mean loss over tokens and members. On a GPU the products of model and loss are bf16, the loss float32."""
        with torch.autocast(step.labels.device.type, torch.bfloat16, enabled=step.labels.is_cuda):
            items_MV, users_TV, temperature = model(step.batch)
        mask = Mask(step.label_ids, step.own, self.own_items)
        users_KTD, positives_KTD, negatives_KND = (
            vectors.float().view(len(vectors), self.num_members, -1).transpose(0, 1)
            for vectors in (users_TV, embedding(step.labels, items_MV), embedding(step.pool, items_MV))
        )
        return sampled_softmax(
            users_KTD,
            positives_KTD,
            Negatives(step.pool_ids, negatives_KND, step.log_expected),
            mask,
            temperature=temperature / self.num_members,  # a member's inner product is only its part of the score
            negative_exponent=self.negative_exponent,
        ).mean()
