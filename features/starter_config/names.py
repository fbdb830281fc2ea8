"""What columns and files are usually called that hold users, items and times."""

import re

USER = (
    "user", "customer", "client", "member", "visitor", "account", "reader", "reviewer", "buyer", "person", "household",
    "cust", "session", "patient", "player", "listener", "viewer", "subscriber", "shopper", "username", "login", "email",
    "uid", "kunde", "kunden", "benutzer", "nutzer", "utilisateur", "usuario", "cliente", "klant",
)  # fmt: skip
ITEM = (
    "item", "product", "article", "sku", "asin", "isbn", "movie", "film", "book", "song", "track", "artist", "video",
    "business", "game", "stock", "content", "news", "listing", "page", "url", "recipe", "course", "job", "ean", "upc",
    "gtin", "artikel", "produkt", "produit", "producto", "prodotto", "app", "offer", "document", "doc", "poi", "venue",
    "good", "goods", "post", "show", "episode",
)  # fmt: skip
TIME = (
    "timestamp", "datetime", "time", "date", "ts", "created", "ordered", "purchased", "occurred", "when", "day",
    "datum", "zeit", "zeitpunkt", "fecha", "played", "watched", "visited", "updated",
)  # fmt: skip
POSITION = ("position", "sequence", "seq", "step", "turn")
IDENTIFIER = ("id", "no", "nr", "code", "key", "number", "num", "nummer", "numero", "hash")
SUFFIXES = (*IDENTIFIER, "at", "on", "utc", "ms")
OUTCOME = ("rating", "ratings", "stars", "score", "review", "reviews", "sales", "sold", "popularity", "clicks", "views")


def words_of(name: str) -> list[str]:
    """The words of a name, however they are joined: "CustomerID", "customer_id" and "customer-id" are alike."""
    spaced = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


def likeness(name: str, vocabulary: tuple[str, ...]) -> tuple[int, int]:
    """How much a name is like one of a vocabulary, to be compared: how well, then how early in the vocabulary.

    The first number is 0 for not at all, 1 for a word among others ("item_price"), 2 for a word at the end or before
    "id" and the like ("our_item_no"), 3 for the word itself ("item", "item_id", "itemid").
    """
    words = words_of(name)
    joined = "".join(words)
    for suffix in ("", *SUFFIXES):
        stem = joined.removesuffix(suffix)
        if stem in vocabulary:
            return 3, -vocabulary.index(stem)
    hits = [stem for word in words for stem in (word, word.removesuffix("s")) if stem in vocabulary]
    if not hits:
        return 0, 0
    is_head = words[-1] in SUFFIXES or words[-1].removesuffix("s") in hits or words[-1] in hits
    return 2 if is_head else 1, -vocabulary.index(hits[0])
