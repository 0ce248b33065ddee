#!/usr/bin/env bash
# numcodecs 0.16.6: a chunk that is shorter than the buffer it is decoded into passes for a whole one, by four codecs.
#
# Guessed: decode(chunk, out=buffer) raises, or returns what was decoded, if that does not fill the buffer.
# Happens: zstd, lz4, blosc and gzip write the bytes that there are and return the buffer as if it were full; what was
#          in the rest of it before stays there, such as pixels of the chunk that was read last. zlib, bz2 and lzma
#          raise. So a reader that keeps one buffer has to compare sizes itself; a zstd frame tells its own, mostly.
# Where: decompress in numcodecs/zstd.pyx, lz4.pyx and blosc.pyx, GZip.decode; ndarray_copy of numcodecs/compat.py for
#        the others.
# With: Python 3.11, numpy 2.4.3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numcodecs==0.16.6 numpy==2.4.3
cd "$folder"
cat > short.py <<'PY'
import numpy as np
from numcodecs import BZ2, LZ4, LZMA, Blosc, GZip, Zlib, Zstd


def decoded(codec):
    """Decode three bytes into a buffer of eight sevens."""
    buffer = np.full(8, 7, np.uint8)
    try:
        codec.decode(codec.encode(b"abc"), out=buffer)
    except ValueError as error:
        return f"ValueError: {error}"
    return buffer.tobytes()


found = {codec.codec_id: decoded(codec) for codec in (Zstd(), LZ4(), Blosc(), GZip(), Zlib(), BZ2(), LZMA())}
for name, what in found.items():
    print(f"{name}: {what}")
silent = [name for name, what in found.items() if what == b"abc" + bytes([7] * 5)]
assert silent == ["zstd", "lz4", "blosc", "gzip"]
assert all("ValueError" in found[name] for name in ("zlib", "bz2", "lzma"))
PY
"$folder/venv/bin/python" short.py
