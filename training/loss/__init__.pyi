from .softmax import Mask as Mask, sampled_softmax as sampled_softmax
