import Foundation
import Glibc
import Posix
import Testing

@testable import Media
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
        try directory.write(filesPackets(0..<3), to: "a-\(filesTime).ts.part")
        try directory.write(filesPackets(0..<3) + [0x47, 2], to: "b-\(filesTime).ts.part")
        try directory.write([], to: "c-\(filesTime).ts.part")
        try directory.write([0x47, 2], to: "d-\(filesTime).ts.part")
        try directory.write(junk, to: "e-\(filesTime).ts.part")
        try directory.write(movie + fragment.dropLast(), to: "f-\(filesTime).mp4.part")
        try directory.write("theirs", to: "g.part")
        try directory.write("done", to: "h.ts")
        try directory.write("hidden", to: ".ts.part")
        let files = try Recovery(directory: directory.path).run()
        #expect(
            files.map(\.outcome) == [
                .published(path: path("a-\(filesTime).ts"), bytes: 564),
                .truncated(path: path("b-\(filesTime).ts"), bytes: 564, truncatedBytes: 2),
                .discarded(bytes: 0, keptAt: nil),
                .discarded(bytes: 2, keptAt: path("d-\(filesTime).ts.invalid")),
                .discarded(bytes: 500, keptAt: path("e-\(filesTime).ts.invalid")),
                .truncated(
                    path: path("f-\(filesTime).mp4"),
                    bytes: movie.count,
                    truncatedBytes: 16
                ),
            ]
        )
        #expect(files.allSatisfy { $0.lastWrittenAt != nil })
        #expect(
            try directory.entries
                == [
                    ".ts.part", "a-\(filesTime).ts", "b-\(filesTime).ts",
                    "d-\(filesTime).ts.invalid",
                    "e-\(filesTime).ts.invalid", "f-\(filesTime).mp4", "g.part", "h.ts",
                ]
        )
        #expect(try directory.bytes(of: "b-\(filesTime).ts") == filesPackets(0..<3))
        #expect(try directory.bytes(of: "e-\(filesTime).ts.invalid") == junk)
        #expect(try Recovery(directory: directory.path).run() == [])
    }

    @Test(
        "part files of other programs are neither renamed, truncated nor removed",
        arguments: [
            "holiday.ts.part", "film.mp4.part", ".ts.part", "20261123T104500Z.ts.part",
            "-20261123T104500Z.ts.part", "Cam-20261123T104500Z.ts.part",
            "my cam-20261123T104500Z.ts.part", ".cam-20261123T104500Z.ts.part",
            "cam-20261123T104500.ts.part", "cam-20260230T104500Z.ts.part",
            "cam-20261123T104500Z-1.ts.part", "cam-20261123T104500Z-01.ts.part",
            "cam-20261123T104500Z-1001.ts.part", "cam-20261123T104500Z_part001.ts.part",
            "cam-20261123T104500Z_part0002.ts.part", "cam-20261123T104500Z_part02.ts.part",
            "cam-20261123T104500Z.ts.ts.part", "cam-20261123T104500Z.avi.part",
            "cam-20261123T104500Z copy.ts.part",
            "\(String(repeating: "x", count: 64))-20261123T104500Z.ts.part",
        ]
    )
    func foreign(_ name: String) throws {
        for content in [filesPackets(0..<2) + [1, 2, 3], [7], []] {
            try directory.write(content, to: name)
            let recovery = try Recovery(directory: directory.path)
            #expect(recovery.run() == [])
            #expect(recovery.foreign == [name].filter { !$0.hasSuffix(".avi.part") })
            #expect(try directory.entries == [name])
            #expect(try directory.bytes(of: name) == content)
        }
    }

    @Test("a part is not truncated through another hard link; one that is complete is published")
    func hardLinks() throws {
        let cut = filesPackets(0..<5) + [0x47, 1]
        try directory.write(cut, to: "theirs.ts")
        try FileSystem.link(path("theirs.ts"), to: path("\(filesStem).ts.part"))
        for _ in 0..<2 {
            guard case .failed(let error) = Recovery.outcomes(in: directory.path).first else {
                Issue.record("not left")
                return
            }
            #expect(error.detail.contains("2 hard links"))
            #expect(try directory.bytes(of: "theirs.ts") == cut)
            #expect(try directory.entries == ["\(filesStem).ts.part", "theirs.ts"])
        }
        try FileSystem.unlink(path("theirs.ts"))
        let final = path("\(filesStem).ts")
        #expect(
            Recovery.outcomes(in: directory.path)
                == [.truncated(path: final, bytes: 940, truncatedBytes: 2)]
        )
        try FileSystem.link(final, to: path("b-\(filesTime).ts.part"))
        let second = path("b-\(filesTime).ts")
        #expect(Recovery.outcomes(in: directory.path) == [.published(path: second, bytes: 940)])
        #expect(try directory.bytes(of: "\(filesStem).ts") == filesPackets(0..<5))
    }

    @Test("a file without media is kept beside one that was kept before")
    func keptTwice() throws {
        for content in ["one", "two"] {
            try directory.write(content, to: "\(filesStem).ts.part")
            _ = try Recovery(directory: directory.path).run()
        }
        #expect(
            try directory.entries == ["\(filesStem)-2.ts.invalid", "\(filesStem).ts.invalid"]
        )
        #expect(try directory.bytes(of: "\(filesStem).ts.invalid") == Array("one".utf8))
        #expect(try directory.bytes(of: "\(filesStem)-2.ts.invalid") == Array("two".utf8))
    }

    @Test("only an empty probe of a former version is removed")
    func probes() throws {
        let kept = [".writable-", ".writable-7", ".writable-7.ts", ".writable-yes"]
        for name in kept { try directory.write(name == ".writable-7" ? "x" : "", to: name) }
        try directory.write("", to: ".writable-1")
        symlink("\(kept[1])", path(".writable-2"))
        _ = try Recovery(directory: directory.path)
        #expect(try directory.entries == (kept + [".writable-2"]).sorted())
    }

    @Test("a kill between the two names is made good, without a second copy")
    func bothNames() throws {
        try directory.write(filesPackets(0..<2), to: "a-\(filesTime).ts.part")
        try FileSystem.link(path("a-\(filesTime).ts.part"), to: path("a-\(filesTime).ts"))
        #expect(
            Recovery.outcomes(in: directory.path) == [
                .published(path: path("a-\(filesTime).ts"), bytes: 376)
            ]
        )
        #expect(try directory.entries == ["a-\(filesTime).ts"])
    }

    @Test("a final name that is taken by another file is not touched")
    func nameTaken() throws {
        try directory.write(filesPackets(0..<2), to: "a-\(filesTime).ts.part")
        try directory.write("precious", to: "a-\(filesTime).ts")
        #expect(
            Recovery.outcomes(in: directory.path) == [
                .published(path: path("a-\(filesTime)-2.ts"), bytes: 376)
            ]
        )
        #expect(try directory.bytes(of: "a-\(filesTime).ts") == Array("precious".utf8))
    }

    @Test("a file that a living recorder holds is left to it")
    func living() throws {
        var part = try filesPart(in: directory.path)
        try part.append((filesPackets(0..<1) + [0x47]).span)
        #expect(Recovery.outcomes(in: directory.path) == [.inUse])
        #expect(part.bytesWritten == 189)
        #expect(
            try part.finish()
                == .published(path: path("\(filesStem).ts"), bytes: 188, truncatedBytes: 1)
        )
    }

    @Test("a file that flock(1) holds is left alone, and recovered later")
    func lockedByFlock() throws {
        let file = try directory.write(filesPackets(0..<1), to: "a-\(filesTime).ts.part")
        let holder = try FilesHolder(["flock", file, "sh", "-c", "echo ready; cat"])
        #expect(Recovery.outcomes(in: directory.path) == [.inUse])
        try holder.release()
        #expect(
            Recovery.outcomes(in: directory.path) == [
                .published(path: path("a-\(filesTime).ts"), bytes: 188)
            ]
        )
    }

    @Test("a file that fails is reported and left; the others go on")
    func oneFails() throws {
        try directory.write(filesPackets(0..<1), to: "a-\(filesTime).ts.part")
        try directory.write(filesPackets(0..<1), to: "b-\(filesTime).ts.part")
        mkdir(path("c-\(filesTime).ts.part"), 0o755)
        symlink("/etc/passwd", path("d-\(filesTime).ts.part"))
        mkfifo(path("e-\(filesTime).ts.part"), 0o666)
        chmod(path("e-\(filesTime).ts.part"), 0o666)
        chmod(path("a-\(filesTime).ts.part"), 0)
        chmod(path("b-\(filesTime).ts.part"), 0o666)
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
                == [
                    "a-\(filesTime).ts.part", "b-\(filesTime).ts", "c-\(filesTime).ts.part",
                    "d-\(filesTime).ts.part", "e-\(filesTime).ts.part",
                ]
        )
    }

    @Test("a directory that is not there is an error")
    func noDirectory() {
        #expect(throws: SystemError.self) { try Recovery(directory: path("none")).run() }
    }
}
