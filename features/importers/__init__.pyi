from .importers import convert_download as convert_download
