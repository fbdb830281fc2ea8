from .diagnosis import Tone as Tone
from .html import (
    card as card,
    escape as escape,
    figure as figure,
    note as note,
    page as page,
    paragraph as paragraph,
    table as table,
)
from .map_and_users import item_titles as item_titles
from .render import by_decile as by_decile, render_report as render_report
