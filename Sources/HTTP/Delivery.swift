/// A response whose last byte the client's kernel has acknowledged.
package struct Delivery: Hashable, Sendable {
    package let path: String
    package let status: Status
    package let peer: String
    /// As the handler set it in the response.
    package let tag: UInt64
}
