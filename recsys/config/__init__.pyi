from .feature_keys import (
    ENCODER_FUNCTION as ENCODER_FUNCTION,
    USEM3 as USEM3,
    FeatureConfig as FeatureConfig,
    FeatureKind as FeatureKind,
    FeaturesConfig as FeaturesConfig,
)
from .gate_keys import BaselineName as BaselineName, GateConfig as GateConfig
from .keys import (
    Config as Config,
    DataConfig as DataConfig,
    SplitConfig as SplitConfig,
)
from .load import load_config as load_config, parse_config as parse_config, with_overrides as with_overrides
