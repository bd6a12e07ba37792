import Foundation
import Glibc
import Posix
import Testing

@testable import Recorder

@Suite("Recovery", .timeLimit(.minutes(5)))
struct FilesRecoveryTests {
    private let directory = FilesDirectory()

    private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

    @Test("each file has the outcome that its bytes deserve; what is not ours is left alone")
    func outcomes() throws {
        let junk = [UInt8](repeating: 1, count: 500)
        let fragment = filesBox("moof") + filesBox("mdat", [1])
        let movie = filesBox("ftyp") + filesBox("moov") + fragment
        try directory.write(filesPackets(0..<3), to: "a.ts.part")
        try directory.write(filesPackets(0..<3) + [0x47, 2], to: "b.ts.part")
        try directory.write([], to: "c.ts.part")
        try directory.write([0x47, 2], to: "d.ts.part")
        try directory.write(junk, to: "e.ts.part")
        try directory.write(movie + fragment.dropLast(), to: "f.mp4.part")
        try directory.write("theirs", to: "g.part")
        try directory.write("done", to: "h.ts")
        try directory.write("hidden", to: ".ts.part")
        let files = try Recovery(directory: directory.path).run()
        #expect(
            files.map(\.outcome) == [
                .published(path: path("a.ts"), bytes: 564),
                .truncated(path: path("b.ts"), bytes: 564, cutBytes: 2),
                .discarded(bytes: 0, keptAt: nil),
                .discarded(bytes: 2, keptAt: nil),
                .discarded(bytes: 500, keptAt: path("e.ts.invalid")),
                .truncated(path: path("f.mp4"), bytes: movie.count, cutBytes: 16),
            ]
        )
        #expect(files.allSatisfy { $0.lastWrittenAt != nil })
        #expect(
            try directory.entries
                == [".ts.part", "a.ts", "b.ts", "e.ts.invalid", "f.mp4", "g.part", "h.ts"]
        )
        #expect(try directory.bytes(of: "b.ts") == filesPackets(0..<3))
        #expect(try directory.bytes(of: "e.ts.invalid") == junk)
        #expect(try Recovery(directory: directory.path).run() == [])
    }

    @Test("a kill between the two names is made good, without a second copy")
    func bothNames() throws {
        try directory.write(filesPackets(0..<2), to: "a.ts.part")
        try FileSystem.link(path("a.ts.part"), to: path("a.ts"))
        #expect(
            Recovery.outcomes(in: directory.path) == [.published(path: path("a.ts"), bytes: 376)]
        )
        #expect(try directory.entries == ["a.ts"])
    }

    @Test("a final name that is taken by another file is not touched")
    func nameTaken() throws {
        try directory.write(filesPackets(0..<2), to: "a.ts.part")
        try directory.write("precious", to: "a.ts")
        #expect(
            Recovery.outcomes(in: directory.path) == [.published(path: path("a-2.ts"), bytes: 376)]
        )
        #expect(try directory.bytes(of: "a.ts") == Array("precious".utf8))
    }

    @Test("a file that a living recorder holds is left to it")
    func living() throws {
        var part = try filesPart(in: directory.path)
        try part.append((filesPackets(0..<1) + [0x47]).span)
        #expect(Recovery.outcomes(in: directory.path) == [.inUse])
        #expect(part.bytesWritten == 189)
        #expect(
            try part.finish() == .published(path: path("\(filesStem).ts"), bytes: 188, cutBytes: 1)
        )
    }

    @Test("a file that flock(1) holds is left alone, and taken up later")
    func lockedByFlock() throws {
        let file = try directory.write(filesPackets(0..<1), to: "a.ts.part")
        let holder = try FilesHolder(["flock", file, "sh", "-c", "echo ready; cat"])
        #expect(Recovery.outcomes(in: directory.path) == [.inUse])
        try holder.release()
        #expect(
            Recovery.outcomes(in: directory.path) == [.published(path: path("a.ts"), bytes: 188)]
        )
    }

    @Test("a file that fails is reported and left; the others go on")
    func oneFails() throws {
        try directory.write(filesPackets(0..<1), to: "a.ts.part")
        try directory.write(filesPackets(0..<1), to: "b.ts.part")
        mkdir(path("c.ts.part"), 0o755)
        symlink("/etc/passwd", path("d.ts.part"))
        mkfifo(path("e.ts.part"), 0o666)
        chmod(path("e.ts.part"), 0o666)
        chmod(path("a.ts.part"), 0)
        chmod(path("b.ts.part"), 0o666)
        chmod(directory.path, 0o777)
        let files = try filesUnprivileged { try Recovery(directory: directory.path).run() }
        let reasons = files.map { file -> FinalizeError.Reason? in
            guard case .failed(let error) = file.outcome else { return nil }
            return error.reason
        }
        #expect(reasons == [.permission, nil, .other, .other, .other])
        #expect(files.map(\.label) == [nil, .published, nil, nil, nil])
        #expect(
            try directory.entries
                == ["a.ts.part", "b.ts", "c.ts.part", "d.ts.part", "e.ts.part"]
        )
    }

    @Test("a directory that is not there is an error")
    func noDirectory() {
        #expect(throws: SystemError.self) { try Recovery(directory: path("none")).run() }
    }
}
