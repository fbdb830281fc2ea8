"""The exports of a small shop: semicolons, decimal commas and US dates, as spreadsheets write them."""

import datetime

import numpy as np

KINDS, COLOURS = (
    ("Mug", "Lantern", "Tea Towel", "Candle", "Notebook", "Cushion"),
    ("Red", "Blue", "Green", "Ivory", "Black"),
)
STYLES = ("Retro", "Floral", "Plain", "Spotted")
START = datetime.datetime(2010, 12, 1, 8)


def write_shop(folder, *, num_users=300, num_items=120, seed=0):
    """Write orders.csv and products.csv; customers keep to the kinds of things that they like. Returns both paths."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = rng.integers(len(KINDS), size=num_items)
    prices = rng.gamma(3, 3, num_items) + 0.5
    codes = [f"{20000 + 7 * item}{'ABC'[item % 3] if item % 4 == 0 else ''}" for item in range(num_items)]
    orders = []
    for user in range(num_users):
        taste = rng.dirichlet(np.full(len(KINDS), 0.3))
        for _ in range(rng.integers(1, 7)):
            time = START + datetime.timedelta(minutes=int(rng.integers(370 * 24 * 60)))
            for kind in rng.choice(len(KINDS), p=taste, size=rng.integers(1, 8)):
                item = rng.choice(np.flatnonzero(kinds == kind))
                orders.append(
                    (time, 12346 + 3 * user, item, rng.choice([1, 2, 6, 12, -1], p=[0.5, 0.2, 0.2, 0.08, 0.02]))
                )
    orders.sort(key=lambda order: order[0])
    _write(folder / "orders.csv", "InvoiceDate;CustomerID;StockCode;Quantity;UnitPrice", (
        f"{time.month}/{time.day}/{time.year} {time.hour}:{time.minute:02};{user};{codes[item]};{quantity};"
        f"{_with_comma(prices[item])}"
        for time, user, item, quantity in orders
    ))  # fmt: skip
    _write(folder / "products.csv", "StockCode;Description;Category;Weight kg;UnitPrice;Tags;Image;Launched", (
        f"{code};{(style := rng.choice(STYLES))} {(colour := rng.choice(COLOURS))} {KINDS[kind]};{KINDS[kind]}s;"
        f"{_with_comma(rng.gamma(2, 0.3))};{_with_comma(price)};{style.lower()}|{colour.lower()};"
        f"https://shop.example/{code}.jpg;{rng.integers(1, 13)}/{rng.integers(1, 29)}/2010"
        for code, kind, price in zip(codes, kinds, prices, strict=True)
    ))  # fmt: skip
    return folder / "orders.csv", folder / "products.csv"


def _with_comma(number):
    return f"{number:.2f}".replace(".", ",")


def _write(path, header, lines):
    path.write_text("\n".join([header, *lines]) + "\n")
