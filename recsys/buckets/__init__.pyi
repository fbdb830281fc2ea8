from .cache import keep_as_copy as keep_as_copy, upload_folder as upload_folder
from .folder import BucketFolder as BucketFolder, fetched as fetched, find as find
from .manifest import FolderManifest as FolderManifest
from .store import (
    Object as Object,
    download as download,
    head as head,
    objects_below as objects_below,
    split_address as split_address,
    store_error as store_error,
)
