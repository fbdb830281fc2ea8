from .fusable import missing_tool as missing_tool
from .softmax import Mask as Mask, sampled_softmax as sampled_softmax
