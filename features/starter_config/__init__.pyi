from .roles import NamedColumns as NamedColumns
from .starter_config import StarterConfig as StarterConfig, suggest_config as suggest_config
