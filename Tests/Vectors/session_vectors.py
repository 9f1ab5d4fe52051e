#!/usr/bin/env python3
"""Writes session.txt, the golden vectors of docs/PROTOCOL.md sections 4 and 6, apart from the code under test.

What goes in (keys, IDs, nonces, plaintexts) is read from session.txt itself; what follows from it is computed.
"""
import os
import struct

from primitives import *

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "session.txt")

text = open(PATH).read().splitlines()
given = dict(line.split() for line in text if line and not line.startswith("#"))
value = {name: bytes.fromhex(digits) for name, digits in given.items()}


def ephemeral(seed):
    """The second 32 bytes of the seed's key stream: an Entropy's first bytes32."""
    return chacha(seed, 0, bytes(64))[32:]


def frame(key, epoch, space, sequence, plain):
    first = bytes([epoch << 6 | space << 4])
    nonce = bytes([space, 0, 0, 0]) + struct.pack("<Q", sequence)
    return first + struct.pack(">I", sequence & 0xFFFFFFFF) + ChaCha20Poly1305(key).encrypt(nonce, plain, first)


prologue = b"lifeline session 1" + b"".join(
    value[name] for name in ("network", "authority", "component", "beside", "nonce"))
one, two, down, up = handshake(
    prologue, value["authorityStatic"], value["componentStatic"], ephemeral(value["authoritySeed"]),
    ephemeral(value["componentSeed"]), value["epoch"] + value["spi"] + bytes(3), bytes(4))
made = {
    "challenge": value["nonce"] + one,
    "response": value["nonce"] + two,
    "sealDown": derive(down, b"session seal"),
    "sealUp": derive(up, b"session seal"),
    "onion": derive(down, b"session onion"),
    "renewal": derive(down, b"session renewal")[:16],
}
for name in given:
    if name.endswith(".sealed"):
        way, space, number, _ = name.split(".")
        sequence = (1 << 32) + 7 if number == "late" else int(number)
        made[name] = frame(
            made["sealDown" if way == "down" else "sealUp"], value["epoch"][0], int(space), sequence,
            value[f"{way}.{space}.{number}.plain"])

with open(PATH, "w") as file:
    for line in text:
        name = line.split()[0] if line else ""
        file.write((f"{name} {made[name].hex()}" if name in made else line) + "\n")
