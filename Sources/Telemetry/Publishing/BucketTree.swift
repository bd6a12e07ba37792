import Posix

/// A histogram's bounds as a binary search tree, for the handles that point to it; it stays for good.
///
/// The children of node `n` are `2n` and `2n + 1`; nodes from `leaves` on are leaves, one for each bucket.
struct BucketTree: Sendable {
    let address: UInt
    /// A power of two above the number of bounds.
    let leaves: Int

    init(_ bounds: [UInt64]) {
        leaves = 1 << (Int.bitWidth - bounds.count.leadingZeroBitCount)
        let nodes = SharedMemory(privateWords: leaves)
        for node in 0..<leaves { nodes.store(.max, at: node) }
        for (index, bound) in bounds.enumerated() {
            // The rank of a node, from 1, is an odd number with as many zeros behind it as there are levels below.
            let levelsBelow = (index + 1).trailingZeroBitCount
            nodes.store(bound, at: (leaves + index + 1) >> (levelsBelow + 1))
        }
        address = nodes.address
    }
}
