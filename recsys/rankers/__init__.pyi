from .item_item_ranker import ItemItemRanker as ItemItemRanker
from .ranker import Ranker as Ranker, Terms as Terms, Texts as Texts, Top as Top
from .text_search import TextSearch as TextSearch
from .two_tower_ranker import TwoTowerRanker as TwoTowerRanker
