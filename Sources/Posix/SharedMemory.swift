import Glibc
import Synchronization

/// Zeroed memory of aligned 64-bit words, shared with other processes or private to this one.
///
/// It is not unmapped by itself: handles into it are plain addresses, which makes publishing free of reference counting,
/// and they may outlive whoever made it. A process maps one, and gives it back by ending; see `release` for one that
/// maps many.
@safe package struct SharedMemory: Sendable {
    package let address: UInt
    package let wordCount: Int
    private let isMapped: Bool

    /// Maps `wordCount` words of `file` for writing, with `mmap(2)`.
    ///
    /// The file must already be allocated that far: a store into a hole of a full disk is a SIGBUS.
    package init(mapping file: borrowing FileDescriptor, wordCount: Int) throws(SystemError) {
        let access = PROT_READ | PROT_WRITE
        let mapped = unsafe mmap(nil, wordCount * 8, access, MAP_SHARED, file.rawValue, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw SystemError(call: "mmap", code: errno)
        }
        (address, self.wordCount, isMapped) = (UInt(bitPattern: mapped), wordCount, true)
    }

    /// Memory of this process alone, for when there is no file to map.
    package init(privateWords wordCount: Int) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: wordCount * 8, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: wordCount * 8)
        (address, self.wordCount, isMapped) = (UInt(bitPattern: memory), wordCount, false)
    }

    /// Gives the memory back: neither it nor a handle into it may be used afterwards.
    @unsafe package func release() {
        guard let memory = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
        if isMapped {
            unsafe munmap(memory, wordCount * 8)
        } else {
            unsafe memory.deallocate()
        }
    }

    /// Address of a word, for a handle; an index out of range is a bug and traps.
    package func address(ofWord index: Int) -> UInt {
        precondition(index >= 0 && index < wordCount)
        return address + UInt(index) * 8
    }

    package func load(_ index: Int) -> UInt64 {
        unsafe atomic(index).pointee.load(ordering: .relaxed)
    }

    package func store(_ value: UInt64, at index: Int) {
        unsafe atomic(index).pointee.store(value, ordering: .relaxed)
    }

    /// Adds one as a full barrier: nothing stored after it is seen before it, or the other way round.
    package func increment(_ index: Int) {
        unsafe atomic(index).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }

    private func atomic(_ index: Int) -> UnsafePointer<Atomic<UInt64>> {
        guard let pointer = unsafe UnsafePointer<Atomic<UInt64>>(bitPattern: address(ofWord: index))
        else { preconditionFailure("no mapping starts at address zero") }
        return unsafe pointer
    }
}
