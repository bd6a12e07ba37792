import CCrypto

/// What the recorder asks of libcrypto's digests.
enum Digest {
    /// SHA-1 with `SHA1(3)`: 20 bytes; for the handshake of a WebSocket, which asks no security of it.
    static func sha1(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        _ = unsafe SHA1(bytes, bytes.count, &digest)
        return digest
    }

    /// HMAC-SHA256 with `HMAC(3)`: 32 bytes; `nil` when libcrypto has no memory, or is not allowed to.
    static func hmacSHA256(_ message: [UInt8], key: [UInt8]) -> [UInt8]? {
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        var length: CUnsignedInt = 0
        let made = unsafe HMAC(
            EVP_sha256(),
            key,
            CInt(key.count),
            message,
            message.count,
            &digest,
            &length
        )
        return unsafe made != nil && length == digest.count ? digest : nil
    }

    /// Whether two secrets are the same, in a time that tells nothing but their lengths.
    static func areEqual(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        guard first.count == second.count else { return false }
        return unsafe CRYPTO_memcmp(first, second, first.count) == 0
    }
}
