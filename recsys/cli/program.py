"""The program itself, to which every command is added."""

from cyclopts import App

app = App(
    name="recsys", help="Retrieval for recommendations: from an event log to served candidates.",
    suppress_keyboard_interrupt=False,
)  # fmt: skip
