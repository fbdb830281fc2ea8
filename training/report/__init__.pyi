from .diagnosis import Tone as Tone
from .html import (
    card as card,
    escape as escape,
    figure as figure,
    note as note,
    page as page,
    paragraph as paragraph,
    table as table,
    verdict_banner as verdict_banner,
)
from .inputs import item_labels as item_labels
from .render import bare_page as bare_page, render_report as render_report, with_version as with_version
from .space import by_decile as by_decile
