from .random_words import random_words as random_words
from .weights import choose_text_weights as choose_text_weights
