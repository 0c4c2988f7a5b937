"""Makes the golden bytes of every command of the wire protocol, with an independent MessagePack implementation.

Needs the Python package msgpack. Each file holds the frames of one message: for each frame its length as a little-endian 32-bit
integer, then its bytes. tests/service/protocol_test.cc builds the same messages and compares.

    python3 tests/oracle/wire/make_golden.py
"""

import pathlib
import struct

import msgpack

SESSION = bytes(range(16))
HERE = pathlib.Path(__file__).parent


def write(name, header, *bodies):
    packed = msgpack.packb(header, use_bin_type=True)
    frames = [b"ALV\x01", packed, *bodies]
    (HERE / f"{name}.bin").write_bytes(b"".join(struct.pack("<I", len(f)) + f for f in frames))


write("hello", {0: 1, 1: 7, 10: 256, 11: 8388608, 17: SESSION, 23: 3})
write("welcome", {0: 2, 1: 7, 7: {"instance": "ab"}, 10: 256, 11: 8388608, 12: 41, 17: SESSION})
write("credit", {0: 3, 10: 64, 11: 65536})
write("put",
      {0: 4, 2: "news", 3: "lake-orrin", 4: 3, 5: 42, 6: 1714521600000000000,
       7: {"author": "M. Strand", "place": "Velde"}, 8: ["title", "text"], 9: 2},
      "Lake Orrin".encode(), "Größe: 14 km, 212 m tief.".encode())
write("put_before_1970", {0: 4, 2: "news", 3: "old", 4: 1, 5: 43, 6: -1000000, 8: ["text"], 9: 1}, b"Old.")
write("delete", {0: 5, 2: "news", 3: "lake-orrin", 4: 3, 5: 44})
write("ack", {0: 6, 10: 64, 11: 1024, 12: 42, 14: 0})
write("ack_applied", {0: 6, 1: 9, 14: 2, 18: {0: 1234567890123}})
write("nack", {0: 7, 5: 43, 7: {"retry_after_ms": "1000"}, 15: "disk_full", 16: "no room for the log"})
write("ping", {0: 8, 1: 10, 17: SESSION})
write("pong", {0: 9, 1: 10, 6: 1714521600123456789, 7: {"backlog": "5"}})
write("bye", {0: 10, 1: 11})
write("flush", {0: 11, 1: 9, 14: 2, 19: 60000})
write("status", {0: 12, 1: 12})
write("query",
      {0: 20, 1: 13, 2: "news", 7: {"codec": "kv", "top_k": "1"}, 8: ["text"], 9: 1, 19: 5000,
       21: 1714521600000000000},
      b"How deep is Lake Orrin?")
write("token", {0: 21, 1: 13, 8: ["text"], 9: 1}, b" 212")
write("done", {0: 22, 1: 13, 8: ["text", "json"], 9: 2}, b" 212 metres", b"{}")
write("cancel", {0: 23, 1: 13})
write("cite", {0: 24, 1: 13, 8: ["json"], 9: 1}, b"[]")
write("document_list", {0: 70, 1: 14, 2: "news", 7: {"after": "", "limit": "10"}})
write("document_get", {0: 71, 1: 15, 2: "news", 3: "lake-orrin"})
write("dead_letter",
      {0: 72, 1: 16, 7: {"line": "3", "reason": "no text", "source": "a.jsonl"}, 8: ["content"], 9: 1}, b"{}")
write("dead_letter_list", {0: 73, 1: 17, 7: {"limit": "5"}})
write("held_list", {0: 74, 1: 19, 2: "news", 3: "lake-orrin", 7: {"limit": "5"}})
write("held_admit", {0: 75, 1: 20, 2: "news", 3: "lake-orrin"})
write("required_flag", {0: 12, 1: 18, 22: 1})
