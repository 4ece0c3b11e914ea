"""The ciphertext that stands in a stored definition.

The envelope is that of `eval/crypt.go` in github.com/pulumi/esc: base64 of `escx`, a version, what the
encrypter made of the value, and a CRC-32 of all that. The encrypter is AES-GCM with a key of this server and
a new nonce each time, so that the same value never looks the same twice.
"""

import base64
import binascii
import secrets
import struct
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"escx"
_VERSION = struct.pack(">I", 1)
_NONCE_BYTES = 12


class CiphertextError(Exception):
    """What stands in a definition is no ciphertext of this server."""


class Cipher:
    def __init__(self) -> None:
        self._aead = AESGCM(AESGCM.generate_key(bit_length=256))

    def encrypt(self, plaintext: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        envelope = _MAGIC + _VERSION + nonce + self._aead.encrypt(nonce, plaintext.encode(), None)
        return base64.b64encode(envelope + _checksum(envelope)).decode()

    def decrypt(self, ciphertext: str) -> str:
        try:
            envelope = base64.b64decode(ciphertext, validate=True)
        except (binascii.Error, ValueError):
            raise CiphertextError("illegal base64 data") from None
        header, encrypted, checksum = envelope[:8], envelope[8:-4], envelope[-4:]
        if header != _MAGIC + _VERSION:
            raise CiphertextError("invalid header")
        if checksum != _checksum(envelope[:-4]):
            raise CiphertextError("invalid checksum")
        try:
            return self._aead.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], None).decode()
        except (InvalidTag, ValueError):
            raise CiphertextError("not encrypted by this server") from None


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))
