from dataclasses import replace

import pytest
import torch

from recsys.model.two_tower import TwoTower
from tests.small_models import of_member
from tests.small_trainings import changed
from training.batches import make_loader, steps_on
from training.description import TrainingDescription
from training.objective import Objective


def test_members_learn_independently(small):
    """The loss of an ensemble is the mean of its members' losses, and each gets the gradient it would get alone."""
    config, dataset = small
    config = changed(config, loss={"in_batch": True, "temperature": 0.7}, model={"dropout": 0.0, "num_members": 2})
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    step = next(iter(loader.epoch(1)))

    def losses(model, recipe):
        of_recipe = replace(training, recipe=recipe)
        loss = Objective(of_recipe, loader, torch.device("cpu"))(model, step)
        loss.backward()
        return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}

    torch.manual_seed(0)
    ensemble = TwoTower(recipe.model)
    loss, gradients = losses(ensemble, recipe)
    alone = []
    for member in range(2):
        single = replace(recipe, model=replace(recipe.model, num_members=1))
        model = TwoTower(single.model)
        model.load_state_dict(of_member(ensemble.state_dict(), member, 2))
        single_loss, single_gradients = losses(model, single)
        alone.append(single_loss)
        for name, gradient in of_member(gradients, member, 2).items():
            torch.testing.assert_close(gradient * 2, single_gradients[name], rtol=1e-4, atol=1e-7)
    assert loss == pytest.approx(sum(alone) / 2, rel=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("in_batch", [False, True])
def test_bf16_on_a_gpu_is_near_float32_on_the_cpu(small, in_batch):
    config, dataset = small
    config = changed(config, loss={"in_batch": in_batch, "mask_history": True}, model={"dropout": 0.0})
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    results = {}
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        torch.manual_seed(0)
        model = TwoTower(recipe.model).to(device)
        loss = Objective(training, loader, device)(model, next(steps_on(device, loader.epoch(1))))
        assert loss.dtype == torch.float32
        loss.backward()
        gradient = torch.cat([weight.grad.flatten().cpu() for weight in model.parameters() if weight.grad is not None])
        results[name] = loss.item(), gradient
    assert results["cuda"][0] == pytest.approx(results["cpu"][0], rel=1e-2)
    assert torch.nn.functional.cosine_similarity(results["cuda"][1], results["cpu"][1], dim=0) > 0.99
