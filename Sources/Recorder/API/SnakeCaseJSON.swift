import FoundationEssentials
import Posix

/// Encodes with names such as `started_at`, sorted; `nil` when a value is no JSON.
func encodedJSON(_ value: some Encodable) -> [UInt8]? {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // What a terminal would obey can only be in strings, where it has an escape.
    return (try? encoder.encode(value)).map {
        Array(visible(String(decoding: $0, as: UTF8.self)).utf8)
    }
}

/// Decodes what has names such as `started_at`; `nil` when it is not of the type.
func decodedJSON<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try? decoder.decode(type, from: Data(bytes))
}
