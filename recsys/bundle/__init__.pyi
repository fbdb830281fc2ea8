from .baseline_bundle import BaselineBundle as BaselineBundle
from .bundle import AnyBundle as AnyBundle, Bundle as Bundle, load_bundle as load_bundle, save_bundle as save_bundle
from .description import (
    Provenance as Provenance,
    TextWeights as TextWeights,
    read_provenance as read_provenance,
)
from .seal import verify as verify
