import CCrypto
import FuzzSupport

@testable import HLS
@testable import Recorder

/// What was encrypted comes back; any other bytes give some that are no more, or nothing.
func decrypt(_ bytes: [UInt8]) {
    let key = Array("sixteen byte key".utf8)
    let vector = Array((bytes + key).prefix(16))
    let open = { AES128.decrypt($0, key: key, initializationVector: vector) }
    require((open(bytes)?.count ?? 0) <= bytes.count, "no more than came")
    guard !bytes.isEmpty else { return }
    require(open(encrypted(bytes, key, vector)) == bytes, "the plain bytes again")
}

private func encrypted(_ bytes: [UInt8], _ key: [UInt8], _ vector: [UInt8]) -> [UInt8] {
    guard let context = EVP_CIPHER_CTX_new() else { fatalError("no memory") }
    defer { EVP_CIPHER_CTX_free(context) }
    var (result, count) = ([UInt8](repeating: 0, count: bytes.count + 16), CInt(0))
    EVP_EncryptInit_ex(context, EVP_aes_128_cbc(), nil, key, vector)
    EVP_EncryptUpdate(context, &result, &count, bytes, CInt(bytes.count))
    let start = Int(count)
    result.withUnsafeMutableBufferPointer { result in
        _ = EVP_EncryptFinal_ex(context, result.baseAddress.map { $0 + start }, &count)
    }
    return Array(result.prefix(start + Int(count)))
}
