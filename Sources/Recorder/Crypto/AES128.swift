import CCrypto

/// AES-128 as HLS has it (RFC 8216, section 4.3.2.4): CBC with PKCS #7 padding, by the system's libcrypto.
enum AES128 {
    static let blockBytes = 16

    /// The plain bytes; `nil` when the length or the padding shows that this was not encrypted so.
    ///
    /// - Precondition: `key` and `initializationVector` are of 16 bytes.
    static func decrypt(
        _ bytes: [UInt8],
        key: [UInt8],
        initializationVector: [UInt8]
    ) -> [UInt8]? {
        precondition(key.count == blockBytes && initializationVector.count == blockBytes)
        guard !bytes.isEmpty, bytes.count % blockBytes == 0 else { return nil }
        guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        guard
            unsafe EVP_DecryptInit_ex(context, EVP_aes_128_cbc(), nil, key, initializationVector)
                == 1
        else { return nil }
        // libcrypto may write a block more than it was given, before it takes the padding away.
        let plain = unsafe [UInt8](unsafeUninitializedCapacity: bytes.count + blockBytes) {
            plain,
            count in
            count = unsafe decrypt(bytes, into: plain, context) ?? 0
        }
        return plain.isEmpty ? nil : plain
    }

    /// The number of plain bytes; `nil` when the padding is wrong.
    private static func decrypt(
        _ bytes: [UInt8],
        into plain: UnsafeMutableBufferPointer<UInt8>,
        _ context: OpaquePointer
    ) -> Int? {
        var (count, rest): (CInt, CInt) = (0, 0)
        let length = CInt(bytes.count)
        guard unsafe EVP_DecryptUpdate(context, plain.baseAddress, &count, bytes, length) == 1,
            let start = plain.baseAddress,
            unsafe EVP_DecryptFinal_ex(context, start + Int(count), &rest) == 1
        else { return nil }
        return Int(count + rest)
    }
}
