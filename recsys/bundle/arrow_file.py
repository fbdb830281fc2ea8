"""Whether an Arrow file is compressed, and could thereby ask for any amount of memory; pyarrow does not tell.

An Arrow file ends with a footer, which says where its messages are. Both are flatbuffers (File.fbs and Message.fbs in
Arrow's sources): tables that start with the distance to a list of the offsets of their fields.
"""

import struct
from collections.abc import Iterator

from .contents import Bytes

MAGIC = b"ARROW1"
BLOCK = struct.Struct("<qiiq")  # offset, bytes of metadata, padding, bytes of the body
CONTINUATION = b"\xff\xff\xff\xff"
DICTIONARIES, BATCHES = 2, 3  # the number of a field of a footer
CONTENT, DICTIONARY, COMPRESSION = 2, 1, 3  # of a message, a dictionary and a record batch


def is_compressed(content: Bytes) -> bool:
    """Whether any message of an Arrow file is compressed. Raises ValueError or struct.error if it is no Arrow file."""
    footer_size = int.from_bytes(content[-10:-6].tobytes(), "little")
    if content[-6:].tobytes() != MAGIC or footer_size > len(content) - 10:
        raise ValueError("it is no Arrow file")
    footer = _Flatbuffer(content[-10 - footer_size : -10].tobytes())
    batches = list(_messages(content, footer, BATCHES))
    batches += [(message, message.table(of, DICTIONARY)) for message, of in _messages(content, footer, DICTIONARIES)]
    return any(message.field(batch, COMPRESSION) for message, batch in batches)


def _messages(content: Bytes, footer: "_Flatbuffer", kind: int) -> Iterator[tuple["_Flatbuffer", int]]:
    """The messages of a kind, and where their content is in them."""
    blocks = footer.field(footer.root, kind)
    if not blocks:
        return
    start = footer.target(blocks)
    for place in range(start + 4, start + 4 + BLOCK.size * footer.number("<I", start), BLOCK.size):
        offset, size, *_ = BLOCK.unpack_from(footer.content, place)
        metadata = content[offset : offset + size].tobytes()
        message = _Flatbuffer(metadata[8 if metadata.startswith(CONTINUATION) else 4 :])
        yield message, message.table(message.root, CONTENT)


class _Flatbuffer:
    """Reads tables of a flatbuffer."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.root = self.target(0)

    def number(self, layout: str, place: int) -> int:
        """The number at a place."""
        return int(struct.unpack_from(layout, self.content, place)[0])

    def target(self, place: int) -> int:
        """Where the offset at a place points."""
        return place + self.number("<I", place)

    def field(self, table: int, number: int) -> int:
        """Where a field of a table is; 0 if it is not set."""
        offsets, place = table - self.number("<i", table), 4 + 2 * number
        is_there = place < self.number("<H", offsets)
        offset = self.number("<H", offsets + place) if is_there else 0
        return table + offset if offset else 0

    def table(self, table: int, number: int) -> int:
        """Where the table is that a field of a table holds."""
        return self.target(self.field(table, number))
