from .config import load_config as load_config
from .retriever import Retriever as Retriever

__version__: str
