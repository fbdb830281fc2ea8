from .gate_keys import BaselineName as BaselineName, GateConfig as GateConfig
from .keys import (
    Config as Config,
    DataConfig as DataConfig,
    FeatureConfig as FeatureConfig,
    FeatureKind as FeatureKind,
    FeaturesConfig as FeaturesConfig,
    SplitConfig as SplitConfig,
)
from .load import load_config as load_config, parse_config as parse_config, with_overrides as with_overrides
