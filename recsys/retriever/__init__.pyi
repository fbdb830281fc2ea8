from .fresh_metadata import ItemChanges as ItemChanges, with_metadata as with_metadata, with_newest as with_newest
from .golden_answers import GoldenAnswers as GoldenAnswers
from .item_map import ItemMap as ItemMap
from .known_users import KnownUsers as KnownUsers, logged_histories as logged_histories
from .live_items import folded as folded, is_due_to_fold as is_due_to_fold, with_items as with_items
from .query import Query as Query, QueryError as QueryError
from .request_users import UserReader as UserReader
from .retriever import Retriever as Retriever
from .source import RetrieverSource as RetrieverSource, same_retriever as same_retriever
