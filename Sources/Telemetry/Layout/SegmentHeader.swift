import Posix

/// The first 512 bytes of a segment: what it is, who writes it, and where everything stands.
struct SegmentHeader: Equatable {
    var identity: Identity
    var layout: SegmentLayout
    /// Entries of the history that are filled, the oldest first.
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
        writer.text(identity.name, width: Identity.nameBytes)
        writer.text(identity.version, width: Identity.versionBytes)
        for section in layout.sections { section.write(to: &writer) }
        writer.integer(UInt64(identity.isRelayed ? 1 : 0))
        writer.raw([], width: SegmentLayout.headerSize - 8 - writer.bytes.count)
        writer.integer(UInt64(Checksum.crc32(writer.bytes[...])))
        return writer.bytes
    }

    /// Reads the header of a file, from its first bytes, which are the header's at least.
    ///
    /// - Throws: what the bytes say is wrong; whether the file is as long as the header says is for the caller to see.
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
        guard size <= SegmentLayout.largestFile,
            !zip(SegmentLayout.Part.allCases, sections).contains(where: { $1.isTooLarge(for: $0) })
        else { throw .tooLarge }
        guard let layout = SegmentLayout(sections: sections, fileSize: size),
            (0...layout[.history].count).contains(historyCount), Identity.isName(identity.name)
        else { throw .damaged(.header) }
        self.layout = layout
    }

    private static func identity(_ record: inout RecordReader) -> (Identity, historyCount: Int) {
        let runID = Array(record.raw(width: 16))
        let bootID = BootID(bytes: Array(record.raw(width: 16)))
        let startedBoot = BootTime(nanoseconds: record.integer())
        let startedWall = WallTime(nanoseconds: record.integer())
        let heartbeatInterval = record.integer(UInt64.self)
        let historyCount = Int(clamping: record.integer(UInt64.self))
        let identity = Identity(
            name: record.text(width: Identity.nameBytes),
            version: record.text(width: Identity.versionBytes),
            runID: runID,
            bootID: bootID,
            startedBoot: startedBoot,
            startedWall: startedWall,
            heartbeatInterval: heartbeatInterval
        )
        return (identity, historyCount)
    }

    init(identity: Identity, layout: SegmentLayout, historyCount: Int) {
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
