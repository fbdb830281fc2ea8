from .share import DEPTH as DEPTH, give_share as give_share
