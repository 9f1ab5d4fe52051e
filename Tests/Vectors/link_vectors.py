#!/usr/bin/env python3
"""Writes the golden vectors of frames between neighbours: discover.txt, handshake.txt, hello.txt, link.txt.

An implementation of docs/PROTOCOL.md sections 1 and 2 of its own, which shares no line with the one under test:
primitives.py has its cryptography.
"""
import os
import struct
from hashlib import blake2b

from primitives import *

HERE = os.path.dirname(os.path.abspath(__file__))


class Direction:
    def __init__(self, key):
        self.stream, self.mac = derive(key, b"link stream"), derive(key, b"link mac")[:16]

    def seal(self, frame, counter, encrypted_end, tagged_end):
        frame = bytearray(frame)
        frame[1:5] = struct.pack(">I", counter & 0xFFFFFFFF)
        frame[13:encrypted_end] = chacha(self.stream, counter, bytes(frame[13:encrypted_end]))
        frame[5:13] = struct.pack(">II", counter >> 32, 0)
        frame[5:13] = siphash24(self.mac, bytes(frame[:tagged_end]))
        return bytes(frame)


def write(name, title, rows):
    with open(os.path.join(HERE, name), "w") as file:
        file.write(f"# {title} Written by link_vectors.py: one \"name value\" a line, hexadecimal.\n\n")
        for key, value in rows:
            file.write(f"{key} {value.hex()}\n")


fill = lambda start, count: bytes((start + i) & 255 for i in range(count))
network, nonce, id_i, id_r = fill(0x10, 16), fill(0x30, 16), fill(0x50, 16), fill(0x70, 16)
certificate = fill(0x90, 203)

discover = struct.pack(">BBBH", 0x10, 1, 0b101, 7) + network[:8] + struct.pack(">I", 3) + nonce + id_i
bare = bytearray(discover)
bare[2] = 0b010
proving = bytearray(discover)
proving[2] |= 8
proof_keys = [fill(start, 32) for start in (1, 2)]
address = fill(0x20, 6)
proof = siphash24(
    derive(dh(proof_keys[0], public(proof_keys[1])), b"lifeline discover")[:16], id_i + nonce + address)
write("discover.txt", "DISCOVER, docs/PROTOCOL.md section 2.", [
    ("sender-static", proof_keys[0]), ("receiver-static", proof_keys[1]), ("address", address),
    ("with-proof", bytes(proving) + struct.pack(">H", 203) + certificate + proof),
    ("with-certificate", discover + struct.pack(">H", 203) + certificate),
    ("without", bytes(bare) + struct.pack(">H", 0)),
])

payload = lambda number, size: struct.pack(">HHBI3x", number, size, 1, 3)
secrets = [fill(start, 32) for start in (1, 2, 3, 4)]
one, two, k_ir, k_ri = handshake(
    b"lifeline link 1" + network + id_i + id_r + nonce, *secrets, payload(5, 1500), payload(9, 1400))
frame = lambda step, sender, receiver, rest: (
    struct.pack(">BBHH", 0x20, step, sender, receiver) + nonce + struct.pack(">H", len(rest)) + rest)
keys = Direction(k_ir)
write("handshake.txt", "HANDSHAKE and the link keys, docs/PROTOCOL.md section 2.", [
    ("initiator-static", secrets[0]), ("responder-static", secrets[1]),
    ("initiator-ephemeral", secrets[2]), ("responder-ephemeral", secrets[3]),
    ("network", network), ("initiator", id_i), ("responder", id_r), ("nonce", nonce), ("certificate", certificate),
    ("first", frame(1, 5, 0, certificate + one)), ("second", frame(2, 9, 5, two)),
    ("initiator-to-responder", k_ir), ("responder-to-initiator", k_ri),
    ("stream", keys.stream), ("mac", keys.mac),
])

hello = lambda length: bytes(15) + struct.pack(
    ">BHIII", 1 | (2 if length > 56 else 0), 20, 3, 1000, 998) + nonce + struct.pack(
    ">IHHH", 0xFFFFFFF0, 1500, 1400, length) + bytes(length - 56)
head = lambda byte, rest: bytes([byte]) + rest[1:]
write("hello.txt", "HELLO under the key \"initiator-to-responder\" of handshake.txt, docs/PROTOCOL.md section 2.", [
    ("small", keys.seal(head(0x30, hello(56)), 1, 13, 56)),
    ("phase-1-counter-2^32+2", keys.seal(head(0x38, hello(56)), (1 << 32) + 2, 13, 56)),
    ("full-size-300", keys.seal(head(0x30, hello(300)), 3, 13, 300)),
])

onion = lambda code, onion_class, size: bytes([0x40 | code << 1]) + bytes(12) + b"\x12\x34" + bytes(
    [onion_class << 5]) + fill(16, size - 16)
content = fill(0xA0, 96)
linked = head(0x50, bytes(15)) + b"\1" + struct.pack(">H", 96) + content
write("link.txt", "ONION (detour label 1234) and LINKED under the key of hello.txt, and OPEN; docs/PROTOCOL.md sections 1, 2.", [
    ("onion-bulk", keys.seal(onion(0, 2, 200), 7, 112, 112)),
    ("onion-control", keys.seal(onion(0, 0, 200), 8, 200, 112)),
    ("onion-protected-64", keys.seal(onion(3, 1, 700), 9, 700, 672)),
    ("linked-beacon", keys.seal(linked, 10, len(linked), len(linked))),
    ("open-relay", bytes([0x60, 2]) + struct.pack(">H", 96) + content),
])
