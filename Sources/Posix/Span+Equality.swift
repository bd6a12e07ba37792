import Glibc

extension Span<UInt8> {
    /// Whether the bytes are the same.
    package func isSame(as other: Span<UInt8>) -> Bool { areSame(self, other) }
}

extension Span<UInt64> {
    /// Whether the words are the same.
    package func isSame(as other: Span<UInt64>) -> Bool { areSame(self, other) }
}

/// By `memcmp(3)`, which compares many bytes at a time; generic only in here, where each use is specialized.
private func areSame<Element: BitwiseCopyable>(_ one: Span<Element>, _ other: Span<Element>) -> Bool
{
    guard one.count == other.count else { return false }
    return unsafe one.withUnsafeBytes { these in
        unsafe other.withUnsafeBytes { those in
            guard let first = these.baseAddress, let second = those.baseAddress else { return true }
            return unsafe memcmp(first, second, these.count) == 0
        }
    }
}
