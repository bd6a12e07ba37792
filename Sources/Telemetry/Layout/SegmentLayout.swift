import Posix

/// The position of each part of a segment: computed by the writer, read from the header by a reader.
///
/// The table with every offset is in `docs/segment.md`.
struct SegmentLayout: Equatable, Sendable {
    static let magic: [UInt8] = Array("SVTELEM\0".utf8)
    static let major: UInt16 = 1
    static let minor: UInt16 = 0
    static let headerSize = 512
    static let maxFileSize = 16 << 20
    /// The last 8 bytes of a file, the magic backwards: any truncation removes it.
    static let endMark = magic.word(at: 0).byteSwapped

    /// The parts of a segment, in the order of the header's table.
    enum Part: Int, CaseIterable, Sendable {
        case words, lifecycle, families, series, recordings, history
    }

    /// One part: `count` slots of `copies` records, each record `stride` bytes.
    struct Section: Equatable, Sendable {
        var offset: Int
        var stride: Int
        var count: Int
        var copies: Int

        var byteCount: Int { stride * count * copies }

        func offset(ofSlot slot: Int, copy: Int) -> Int {
            offset + (slot * copies + copy) * stride
        }
    }

    private(set) var sections: [Section]
    private(set) var fileSize: Int

    subscript(part: Part) -> Section { sections[part.rawValue] }

    init(_ capacity: SegmentCapacity) {
        sections = []
        fileSize = Self.headerSize
        let capacity = capacity.clamped
        for part in Part.allCases {
            var section = part.shape(capacity)
            section.offset = fileSize
            sections.append(section)
            fileSize = (section.offset + section.byteCount + 63) & ~63
        }
        fileSize += 64  // For the mark at the end.
    }

    /// Index of the file's word with the end mark; `nil` if the file has no room for it.
    var endMarkWord: Int? {
        let end = sections.map { $0.offset + $0.byteCount }.max() ?? fileSize
        return fileSize % 8 == 0 && fileSize - 8 >= end ? fileSize / 8 - 1 : nil
    }

    /// The layout in a header; `nil` if it is inconsistent or does not fit the file.
    init?(sections: [Section], fileSize: Int) {
        guard sections.count == Part.allCases.count, fileSize <= Self.maxFileSize else {
            return nil
        }
        var end = Self.headerSize
        for (part, section) in zip(Part.allCases, sections) {
            guard section.fits(between: end, and: fileSize), section.isShaped(for: part) else {
                return nil
            }
            end = section.offset + section.byteCount
        }
        (self.sections, self.fileSize) = (sections, fileSize)
    }
}

extension SegmentLayout.Section {
    /// Whether it lies behind the parts before it, so that no byte of a file is read twice, whatever the header says.
    fileprivate func fits(between start: Int, and end: Int) -> Bool {
        let limit = SegmentLayout.maxFileSize
        guard (start...limit).contains(offset), (8...limit).contains(stride), offset % 8 == 0,
            stride % 8 == 0, (1...limit).contains(count), (1...2).contains(copies)
        else { return false }
        let (size, overflow) = (stride * copies).multipliedReportingOverflow(by: count)
        return !overflow && size <= end && offset <= end - size
    }

    /// Whether a minor version of this layout may have it: fields may be appended, but not removed.
    fileprivate func isShaped(for part: SegmentLayout.Part) -> Bool {
        switch part {
        case .words: stride == 8 && copies == 1 && count >= SegmentWord.firstFree
        case .lifecycle: stride >= Lifecycle.stride && count == 1
        case .families: stride >= FamilyRecord.stride
        case .series: stride >= SeriesRecord.stride
        case .recordings: stride >= RecordingSlot.stride
        case .history: stride >= PastRun.stride
        }
    }
}

extension SegmentLayout.Part {
    fileprivate func shape(_ capacity: SegmentCapacity) -> SegmentLayout.Section {
        switch self {
        case .words:
            .init(offset: 0, stride: 8, count: capacity.allWords, copies: 1)
        case .lifecycle:
            .init(offset: 0, stride: Lifecycle.stride, count: 1, copies: 2)
        case .families:
            .init(offset: 0, stride: FamilyRecord.stride, count: capacity.families, copies: 2)
        case .series:
            .init(offset: 0, stride: SeriesRecord.stride, count: capacity.series, copies: 2)
        case .recordings:
            .init(offset: 0, stride: RecordingSlot.stride, count: capacity.recordings, copies: 2)
        case .history:
            .init(offset: 0, stride: PastRun.stride, count: PastRun.kept, copies: 1)
        }
    }
}

extension SegmentLayout.Section {
    /// Whether it has more slots than any publisher creates, which bounds the memory of a reader.
    func isTooLarge(for part: SegmentLayout.Part) -> Bool {
        switch part {
        case .words: count > SegmentCapacity.maxAllWords
        case .lifecycle: false
        case .families: count > SegmentCapacity.maxFamilies
        case .series: count > SegmentCapacity.maxSeries
        case .recordings: count > SegmentCapacity.maxRecordings
        case .history: count > SegmentCapacity.maxHistory
        }
    }
}

/// The words before those of recordings and metrics.
enum SegmentWord {
    /// Counts changes of records; odd while one is being written.
    static let change = 0
    /// `CLOCK_BOOTTIME` nanoseconds at the last heartbeat.
    static let heartbeat = 1
    /// Number of declarations and recordings for which there was no room.
    static let rejected = 2
    static let firstFree = 8
}

/// How much a segment can hold; with the defaults, the file has half a MiB.
///
/// Numbers are limited to the range from 1 to the maximum: 1024 families, 16384 series, 1024 recordings, and 524288 words
/// minus eight and two for each recording.
public struct SegmentCapacity: Sendable {
    public var families = 128
    public var series = 512
    /// 64-bit words of all series: one for a counter or gauge; up to 292 for a histogram, about 180 with the default bounds.
    public var words = 8192
    /// Recordings that can be open at the same time.
    public var recordings = 64

    static let maxFamilies = 1024
    static let maxSeries = 16_384
    static let maxAllWords = 524_288
    static let maxRecordings = 1024
    /// Slots of the history; a publisher uses 32.
    static let maxHistory = 256

    public init() {}

    var allWords: Int { SegmentWord.firstFree + recordings * 2 + words }

    /// Within the limits of readers; the file is then always smaller than `SegmentLayout.maxFileSize`.
    fileprivate var clamped: SegmentCapacity {
        var capacity = self
        capacity.families = min(max(1, families), Self.maxFamilies)
        capacity.series = min(max(1, series), Self.maxSeries)
        capacity.recordings = min(max(1, recordings), Self.maxRecordings)
        let reserved = SegmentWord.firstFree + capacity.recordings * 2
        capacity.words = min(max(1, words), Self.maxAllWords - reserved)
        return capacity
    }
}

/// The first 512 bytes of a segment: its version, the run that writes it, and its layout.
struct SegmentHeader: Equatable {
    var identity: RunIdentity
    var layout: SegmentLayout
    /// Number of entries in the history, the oldest first.
    var historyCount: Int

    var bytes: [UInt8] {
        var writer = RecordWriter()
        writer.raw(SegmentLayout.magic, width: 8)
        writer.integer(SegmentLayout.major)
        writer.integer(SegmentLayout.minor)
        writer.integer(UInt32(SegmentLayout.headerSize))
        writer.integer(UInt64(layout.fileSize))
        writer.raw(identity.runID, width: 16)
        writer.raw(identity.bootID.bytes, width: 16)
        writer.integer(identity.startedBoot.nanoseconds)
        writer.integer(identity.startedWall.nanoseconds)
        writer.integer(identity.heartbeatInterval)
        writer.integer(UInt64(historyCount))
        writer.text(identity.name, width: RunIdentity.nameBytes)
        writer.text(identity.version, width: RunIdentity.versionBytes)
        for section in layout.sections { section.write(to: &writer) }
        writer.integer(UInt64(identity.isRelayed ? 1 : 0))
        writer.raw([], width: SegmentLayout.headerSize - 8 - writer.bytes.count)
        writer.integer(UInt64(Checksum.crc32(writer.bytes[...])))
        return writer.bytes
    }

    /// Reads the header from the first bytes of a file, at least 512.
    ///
    /// - Throws: the error in these bytes. The caller compares the size of the file with that in the header.
    init(_ bytes: [UInt8]) throws(SegmentError) {
        guard bytes.starts(with: SegmentLayout.magic) else { throw .notASegment }
        var record = RecordReader(bytes.prefix(SegmentLayout.headerSize).dropFirst(8))
        guard bytes.count >= 12 else { throw .truncated }
        let major = record.integer(UInt16.self)
        guard major == SegmentLayout.major else { throw .unsupportedVersion(Int(major)) }
        guard bytes.count >= SegmentLayout.headerSize else { throw .truncated }
        let end = SegmentLayout.headerSize - 8
        guard bytes.word(at: end) == UInt64(Checksum.crc32(bytes[..<end])) else {
            throw .damaged(.header)
        }
        _ = record.integer(UInt16.self)
        _ = record.integer(UInt32.self)
        let size = Int(clamping: record.integer(UInt64.self))
        (identity, historyCount) = Self.identity(&record)
        let sections = SegmentLayout.Part.allCases.map { _ in SegmentLayout.Section(&record) }
        identity.isRelayed = record.integer(UInt64.self) & 1 != 0
        guard size <= SegmentLayout.maxFileSize,
            !zip(SegmentLayout.Part.allCases, sections).contains(where: { $1.isTooLarge(for: $0) })
        else { throw .tooLarge }
        guard let layout = SegmentLayout(sections: sections, fileSize: size),
            (0...layout[.history].count).contains(historyCount), RunIdentity.isName(identity.name)
        else { throw .damaged(.header) }
        self.layout = layout
    }

    private static func identity(_ record: inout RecordReader) -> (RunIdentity, historyCount: Int) {
        let runID = Array(record.raw(width: 16))
        let bootID = BootID(bytes: Array(record.raw(width: 16)))
        let startedBoot = BootTime(nanoseconds: record.integer())
        let startedWall = WallTime(nanoseconds: record.integer())
        let heartbeatInterval = record.integer(UInt64.self)
        let historyCount = Int(clamping: record.integer(UInt64.self))
        let identity = RunIdentity(
            name: record.text(width: RunIdentity.nameBytes),
            version: record.text(width: RunIdentity.versionBytes),
            runID: runID,
            bootID: bootID,
            startedBoot: startedBoot,
            startedWall: startedWall,
            heartbeatInterval: heartbeatInterval
        )
        return (identity, historyCount)
    }

    init(identity: RunIdentity, layout: SegmentLayout, historyCount: Int) {
        self.identity = identity
        self.layout = layout
        self.historyCount = historyCount
    }
}

extension SegmentLayout.Section {
    fileprivate func write(to writer: inout RecordWriter) {
        writer.integer(UInt64(offset))
        writer.integer(UInt32(stride))
        writer.integer(UInt32(count))
        writer.integer(UInt64(copies))
    }

    fileprivate init(_ record: inout RecordReader) {
        offset = Int(clamping: record.integer(UInt64.self))
        stride = Int(record.integer(UInt32.self))
        count = Int(record.integer(UInt32.self))
        copies = Int(clamping: record.integer(UInt64.self))
    }
}
