"""A pretrained encoder of text for tests: which letters a text has, whatever their order."""

from collections import Counter
from string import ascii_lowercase

import numpy as np

NAME = f"{__name__}:encode"
calls: list[str] = []  # every text that was encoded


def encode(texts):
    """[n, 26]: how often each letter occurs, and a little of each, so that no text has no vector."""
    calls.extend(texts)
    counts = [Counter(text.lower()) for text in texts]
    return np.array([[count[letter] + 0.1 for letter in ascii_lowercase] for count in counts])


def shifted(texts):
    """Another encoder of the same width."""
    return np.roll(encode(texts), 1, axis=1)


def narrow(texts):
    """Another encoder of another width."""
    return encode(texts)[:, :5]


NOT_A_FUNCTION = 3
