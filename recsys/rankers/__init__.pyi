from .item_item_ranker import ItemItemRanker as ItemItemRanker
from .ranker import Ranker as Ranker, Terms as Terms, Top as Top
from .two_tower_ranker import TwoTowerRanker as TwoTowerRanker
