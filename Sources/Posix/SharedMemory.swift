import CLinux
import Glibc
import Synchronization

/// Zeroed memory of aligned 64-bit words, shared with other processes or private to this one.
///
/// It has no `deinit`: handles into it are plain addresses, so that publishing needs no reference counting, and they may
/// outlive their creator. A process maps it once, and its end unmaps it; a process that maps many calls `release`.
///
/// Mapped memory survives what other processes do to its file. If the file is truncated, a handler for SIGBUS replaces the
/// memory by private memory with the last copy (`keepCopy`); `move` maps another file in its place while threads store to it.
@safe package struct SharedMemory: Sendable {
    package let address: UInt
    package let wordCount: Int
    /// The slot in the table of the signal handlers; `nil` for memory that is allocated.
    private let range: CInt?

    private var byteCount: Int { wordCount * 8 }

    /// Maps `wordCount` words of `file` for writing, with `mmap(2)`.
    ///
    /// The file must already be allocated that far: a store into a hole of a full disk is a SIGBUS.
    package init(mapping file: borrowing FileDescriptor, wordCount: Int) throws(SystemError) {
        try self.init(wordCount: wordCount, MAP_SHARED, file.rawValue)
    }

    /// Memory of this process alone that can be moved to a file later.
    package init(movableWords wordCount: Int) throws(SystemError) {
        try self.init(wordCount: wordCount, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    }

    private init(
        wordCount: Int,
        _ flags: CInt,
        _ descriptor: CInt
    ) throws(SystemError) {
        let size = wordCount * 8
        let mapped = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, flags, descriptor, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw SystemError(call: "mmap", code: errno)
        }
        let range = clinux_add_range(UInt(bitPattern: mapped), UInt(size))
        guard range >= 0 else {
            unsafe munmap(mapped, size)
            throw SystemError(call: "sigaction SIGBUS", code: EAGAIN)
        }
        (address, self.wordCount, self.range) = (UInt(bitPattern: mapped), wordCount, range)
    }

    /// Memory of this process alone, for good.
    package init(privateWords wordCount: Int) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: wordCount * 8, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: wordCount * 8)
        (address, self.wordCount, range) = (UInt(bitPattern: memory), wordCount, nil)
    }

    /// Frees the memory: neither it nor a handle into it may be used afterwards.
    @unsafe package func release() {
        guard let memory = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
        if let range {
            clinux_remove_range(range)
            unsafe munmap(memory, byteCount)
        } else {
            unsafe memory.deallocate()
        }
    }

    /// Unmaps the file, which also releases its lock; handles stay valid, but what they publish is no longer visible.
    package func detach() {
        guard let range, let memory = unsafe UnsafeMutableRawPointer(bitPattern: address) else {
            return
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        _ = unsafe mmap(memory, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0)
        clinux_remove_range(range)
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

    /// Adds to a word, up to the largest number.
    package func addSaturating(_ amount: UInt64, at index: Int) {
        var old = load(index)
        while true {
            let (sum, overflow) = old.addingReportingOverflow(amount)
            let (exchanged, original) = unsafe atomic(index).pointee.compareExchange(
                expected: old,
                desired: overflow ? .max : sum,
                ordering: .relaxed
            )
            if exchanged { return }
            old = original
        }
    }

    /// Adds one between two full barriers, so that no other store is seen on the wrong side of it.
    ///
    /// On arm64 an addition alone is no barrier, whatever its ordering: a plain store after it may be seen before it.
    package func increment(_ index: Int) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        _ = unsafe atomic(index).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    private func atomic(_ index: Int) -> UnsafePointer<Atomic<UInt64>> {
        guard let pointer = unsafe UnsafePointer<Atomic<UInt64>>(bitPattern: address(ofWord: index))
        else { preconditionFailure("no mapping starts at address zero") }
        return unsafe pointer
    }
}

/// For memory that is mapped.
extension SharedMemory {
    /// Copies the words in `words` of `other`, each atomically; writes no page that is equal already.
    package func copy(_ words: Range<Int>, of other: SharedMemory) {
        guard !words.isEmpty else { return }
        precondition(words.upperBound <= min(wordCount, other.wordCount))
        let first = words.lowerBound
        let (target, source) = (address(ofWord: first), other.address(ofWord: first))
        clinux_copy_words(target, source, UInt(words.count))
    }

    /// Whether the file was truncated, so that the memory is now private.
    package var isLost: Bool { range.map { clinux_range_is_lost($0) != 0 } ?? false }

    /// Sets the copy that replaces the content if the file is truncated; without one, zeros do.
    ///
    /// It is as long as this memory, and mapped.
    package func keepCopy(_ copy: SharedMemory?) {
        precondition(copy.map { $0.wordCount == wordCount && $0.range != nil } ?? true)
        if let range { clinux_set_copy(range, copy?.address ?? 0) }
    }

    /// Continues with the copy in private memory: the file was truncated, although no access has failed yet.
    package func discardFile() {
        if let range { _ = clinux_discard_file(range) }
    }

    /// Acknowledges the loss of the file, after which the private memory can be moved to another file.
    package func acknowledgeLoss() {
        if let range { clinux_acknowledge_loss(range) }
    }

    /// Moves to the file of `target`, whose own mapping ends; threads that store meanwhile wait for much less than a millisecond.
    ///
    /// It does not wait for a file system. The caller must prevent changes that take more than one store.
    /// - Returns: `false` if either file was truncated meanwhile; then nothing has changed.
    package func move(to target: SharedMemory) -> Bool {
        guard let range, let targetRange = target.range, target.wordCount == wordCount else {
            return false
        }
        clinux_populate(target.address, UInt(byteCount))
        // The second copy finds all pages, and most words equal.
        target.copy(0..<wordCount, of: self)
        let isFrozen = clinux_freeze(range) == 0
        target.copy(0..<wordCount, of: self)
        guard !target.isLost else {
            if isFrozen { clinux_thaw(range) }
            unsafe target.release()
            return false
        }
        clinux_remove_range(targetRange)
        if clinux_move_mapping(range, target.address) == 0 { return true }
        if isFrozen { clinux_thaw(range) }
        if let memory = unsafe UnsafeMutableRawPointer(bitPattern: target.address) {
            unsafe munmap(memory, byteCount)
        }
        return false
    }
}

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
