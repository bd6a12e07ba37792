import CLinux

/// Makes blocks of memory from 256 KiB on go back to the system when they are freed.
///
/// Bodies of tens of megabytes come and go on many threads; the allocator would keep as much again for each of them.
package func returnLargeBlocksWhenFreed() {
    _ = clinux_map_blocks_from(256 << 10)
}
