"""Joins the full chunks of recorded event logs into one large log: dense_evtx.py FOLDER OUT MEGABYTES

Recorded samples are mostly nearly empty files; a log of a working computer is made of full chunks. What is written is
a file header and copies of every chunk under FOLDER whose checksums are right and of which at least half is records,
in the order of their files' names, again and again up to the size.
"""

import pathlib
import struct
import sys
import zlib

HEADER, CHUNK = 4096, 65536


def is_full(chunk):
    """True for a whole chunk, unharmed, at least half of which is records (MS-EVEN6 and the file's known layout)."""
    if len(chunk) != CHUNK or chunk[:8] != b"ElfChnk\0":
        return False
    free_from, records_crc = struct.unpack_from("<II", chunk, 48)
    header_crc = struct.unpack_from("<I", chunk, 124)[0]
    return (
        CHUNK // 2 <= free_from <= CHUNK
        and zlib.crc32(chunk[512:free_from]) == records_crc
        and zlib.crc32(chunk[:120] + chunk[128:512]) == header_crc
    )


def chunks(folder):
    for path in sorted(pathlib.Path(folder).rglob("*.evtx")):
        log = path.read_bytes()
        for at in range(HEADER, len(log), CHUNK):
            chunk = log[at : at + CHUNK]
            if is_full(chunk):
                yield chunk


def main():
    folder, out, megabytes = sys.argv[1:]
    full = list(chunks(folder))
    if not full:
        sys.exit(f"{folder}: no full chunk in any .evtx file there")
    count = max(int(megabytes) * 1024 * 1024 // CHUNK, 1)
    fields = (0, min(count, 0xFFFF) - 1, 1, 128, 1, 3, HEADER, min(count, 0xFFFF))
    head = struct.pack("<8sQQQIHHHH", b"ElfFile\0", *fields).ljust(120, b"\0")
    with open(out, "wb") as log:
        log.write((head + struct.pack("<II", 0, zlib.crc32(head))).ljust(HEADER, b"\0"))
        for i in range(count):
            log.write(full[i % len(full)])
    print(f"{out}: {count} chunks, {len(full)} different ones")


if __name__ == "__main__":
    main()
