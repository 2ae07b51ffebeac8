#!/usr/bin/env python3
"""Writes index-vectors.json from docs/ledger-index.md, not from the Go code."""
import hashlib, hmac, json, struct

KEYS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
VALUES = [
    ("text", "", "CDFHJ-KMPQR-TVWXY"), ("text", "", "cdfhj kmpqr tvwxy"), ("text", "", "CDFHJKMPQRTVWXY"),
    ("text", "camera", "CDFHJKMPQRTVWXY"), ("text", "", "a"), ("text", "", "_.:-x ~!\"'\\"),
    ("text", "", "12345678"), ("text", "", "Q" * 256),
    ("code", "", "1234-5678"), ("code", "camera", "1234 5678"), ("code", "", "00000000"),
    ("bytes", "", "00112233445566778899aabbccddeeff"), ("bytes", "", "00112233445566778899AABBCCDDEEFF"),
    ("bytes", "gateway", "ff"),
]

def canonical(cls, value):
    if cls == "bytes":
        return bytes.fromhex(value)
    return value.upper().translate({ord(c): None for c in " -_.:"}).encode()

def field(b):
    return struct.pack(">I", len(b)) + b

out = []
for version, key in KEYS.items():
    for cls, scope, value in VALUES:
        c = canonical(cls, value)
        m = b"".join(map(field, [b"mintmark/index", struct.pack(">I", version), cls.encode(), scope.encode(), c]))
        out.append({"version": version, "class": cls, "scope": scope, "value": value, "canonical": c.hex(),
                    "message": m.hex(), "index": hmac.new(key, m, hashlib.sha256).digest()[:16].hex()})
json.dump({"keys": {str(v): k.hex() for v, k in KEYS.items()}, "vectors": out}, open("index-vectors.json", "w"), indent=1)
