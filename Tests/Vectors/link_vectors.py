#!/usr/bin/env python3
"""Writes the golden vectors of frames between neighbours: discover.txt, handshake.txt, hello.txt, link.txt.

An implementation of docs/PROTOCOL.md sections 1 and 2 of its own, which shares no line with the one under test:
hashlib for BLAKE2b, the `cryptography` package for X25519, ChaCha20 and ChaCha20-Poly1305, SipHash and Noise here.
"""
import hmac
import os
import struct
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = os.path.dirname(os.path.abspath(__file__))


def siphash24(key, data):
    mask = (1 << 64) - 1
    rotl = lambda x, b: ((x << b) | (x >> (64 - b))) & mask
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask; v[1] = rotl(v[1], 13) ^ v[0]; v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & mask; v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask; v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask; v[1] = rotl(v[1], 17) ^ v[2]; v[2] = rotl(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for i in range(0, len(padded), 8):
        word = struct.unpack("<Q", padded[i:i + 8])[0]
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


assert siphash24(bytes(range(16)), bytes(range(15))).hex() == "e545be4961ca29a1"  # the paper's appendix A


def chacha(key, counter, data):
    nonce = bytes(8) + struct.pack("<Q", counter)  # block counter 0, then the 64-bit nonce
    return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(data)


def derive(key, label):
    return blake2b(label, digest_size=32, key=key).digest()


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


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(secret, point):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(point))


class Symmetric:
    def __init__(self, prologue, *statics):
        name = b"Noise_KK_25519_ChaChaPoly_BLAKE2b"
        self.h = self.ck = name.ljust(64, b"\0")
        for each in (prologue,) + statics:
            self.mix_hash(each)

    def mix_hash(self, data):
        self.h = blake2b(self.h + data).digest()

    def hkdf(self, material):
        mac = lambda key, data: hmac.new(key, data, blake2b).digest()
        temp = mac(self.ck, material)
        first = mac(temp, b"\1")
        return first, mac(temp, first + b"\2")

    def mix_key(self, material):
        self.ck, key = self.hkdf(material)
        self.k = key[:32]

    def encrypt(self, payload):
        sealed = ChaCha20Poly1305(self.k).encrypt(bytes(12), payload, self.h)
        self.mix_hash(sealed)
        return sealed


def handshake(prologue, i_static, r_static, i_ephemeral, r_ephemeral, first, second):
    s = Symmetric(prologue, public(i_static), public(r_static))
    s.mix_hash(public(i_ephemeral))
    s.mix_key(dh(i_ephemeral, public(r_static)))
    s.mix_key(dh(i_static, public(r_static)))
    one = public(i_ephemeral) + s.encrypt(first)
    s.mix_hash(public(r_ephemeral))
    s.mix_key(dh(r_ephemeral, public(i_ephemeral)))
    s.mix_key(dh(r_ephemeral, public(i_static)))
    two = public(r_ephemeral) + s.encrypt(second)
    to_responder, to_initiator = s.hkdf(b"")
    return one, two, to_responder[:32], to_initiator[:32]


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
write("discover.txt", "DISCOVER, docs/PROTOCOL.md section 2.", [
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
