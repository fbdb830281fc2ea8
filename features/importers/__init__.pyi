from .importers import IMPORTERS as IMPORTERS, convert_download as convert_download
