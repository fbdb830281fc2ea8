from .availability import REMOVED as REMOVED, Availability as Availability
from .diversity import (
    Limit as Limit,
    Limits as Limits,
    choose as choose,
    require_diversity as require_diversity,
)
from .fallback import FALLBACK as FALLBACK, POPULAR as POPULAR, MostPopular as MostPopular, falls_back as falls_back
from .filters import Where as Where, conditions as conditions, passing as passing
from .mask import Mask as Mask
from .passages import Passage as Passage, Passages as Passages, as_passages as as_passages
from .results import (
    Explanation as Explanation,
    Ranking as Ranking,
    Recommendations as Recommendations,
    item_titles as item_titles,
    titles_of as titles_of,
)
