"""What the programs of the golden vectors share: SipHash, ChaCha20, key derivation, X25519 and Noise KK.

An implementation of its own, which shares no line with the one under test: hashlib for BLAKE2b, the `cryptography`
package for X25519, ChaCha20 and ChaCha20-Poly1305, SipHash and Noise here.
"""
import hmac
import struct
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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
