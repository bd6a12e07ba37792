import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

/// Records for ever, as a recorder does, until it is killed `microseconds` after its start.
private func recordUntilKilled(in directory: String, after microseconds: UInt32) throws {
    let killer = Thread {
        usleep(microseconds)
        kill(getpid(), SIGKILL)
    }
    killer.start()
    let catalogue = try Catalogue(path: "\(directory)/c.sqlite")
    try catalogue.recoverUnfinished(Recovery(directory: directory).run(), in: directory)
    while true {
        var part = try filesPart(in: directory, syncInterval: .zero)
        var entry = catalogueEntry(part.name.partPath)
        entry.recordingID = Int64(BootTime.now().nanoseconds)
        let id = try catalogue.start(entry)
        let media = filesPackets(0..<500)
        for start in stride(from: 0, to: media.count, by: 7001) {
            let chunk = Array(media[start..<min(start + 7001, media.count)])
            try part.append(chunk.span)
            try part.synchronizeIfDue(now: .now())
        }
        guard case .published(let path, let bytes, 0) = try part.finish() else { return }
        try catalogue.end(id, .completed, path: path, bytes: bytes)
    }
}

@Suite("Killed recorders", .timeLimit(.minutes(5)))
struct FilesKillTests {
    @Test("whenever a recorder is killed, the next start has whole files and true rows")
    func killed() async throws {
        let directory = FilesDirectory()
        let path = directory.path
        for _ in 0..<12 { await kill(in: path, before: 40_000) }
        // A slow machine needs longer for its first file.
        var latest: UInt32 = 80_000
        while try !directory.entries.contains(where: { $0.hasSuffix(".ts") }), latest < 30_000_000 {
            await kill(in: path, before: latest)
            latest *= 2
        }
        let files = try Recovery(directory: path).run()
        for file in files { #expect(file.label != nil, "\(file)") }
        let catalogue = try Catalogue(path: "\(path)/c.sqlite")
        try catalogue.recoverUnfinished(files, in: path)
        #expect(try catalogue.active().isEmpty)
        try checkMedia(in: directory)
        try checkRows(of: catalogue)
    }

    private func kill(in path: String, before latest: UInt32) async {
        let microseconds = UInt32.random(in: 0..<latest)
        await #expect(processExitsWith: .signal(SIGKILL), "after \(microseconds) us") {
            [path = path as String, microseconds = microseconds as UInt32] in
            try recordUntilKilled(in: path, after: microseconds)
        }
    }

    private func checkMedia(in directory: FilesDirectory) throws {
        let names = try directory.entries.filter { !$0.hasPrefix("c.sqlite") }
        #expect(names.contains { $0.hasSuffix(".ts") })
        let media = filesPackets(0..<500)
        for name in names {
            #expect(name.hasSuffix(".ts"))
            let bytes = try directory.bytes(of: name)
            #expect(bytes.count > 0 && bytes.count % 188 == 0)
            #expect(bytes == Array(media.prefix(bytes.count)), "\(name)")
        }
    }

    private func checkRows(of catalogue: Catalogue) throws {
        let rows = try catalogue.all()
        #expect(!rows.isEmpty)
        let kept = rows.flatMap(\.parts).filter { $0.status != .failed }
        #expect(Set(kept.map(\.path)).count == kept.count)
        for row in kept {
            #expect(Int(try FileSystem.status(of: row.path).st_size) == row.bytes, "\(row)")
        }
    }
}
