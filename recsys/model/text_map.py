"""The linear map of a pretrained encoder's vectors into a tower.

Shape suffixes: N texts, V the width of a tower's vectors, D of the encoder's.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .embedding_tables import INIT_STD


class TextMap(nn.Linear):
    """A map whose weights are of the order of 1, so that a step of Adam, of the size of the learning rate, turns the
    encoder's vectors a little. With weights as small as those of other features, 25 such steps undo the pretraining
    (docs/LOG.md). A vector of length 1 becomes as long as an id embedding at first.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width, bias=False)
        self.factor = INIT_STD * (width / size) ** 0.5
        nn.init.normal_(self.weight)

    def forward(self, vectors_ND: Tensor) -> Tensor:
        """[N, D] to [N, V]."""
        return F.linear(vectors_ND.to(self.weight.dtype), self.weight * self.factor)

    @torch.no_grad()
    def start_at(self, directions_VD: npt.NDArray[np.float64]) -> None:
        """Project onto these orthonormal directions, times a factor."""
        self.weight.copy_(torch.from_numpy(directions_VD * directions_VD.shape[1] ** 0.5))
