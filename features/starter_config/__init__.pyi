from .roles import NamedColumns as NamedColumns
from .starter_config import suggest_config as suggest_config
from .suggestion import StarterConfig as StarterConfig
from .text_config import suggest_for_passages as suggest_for_passages
