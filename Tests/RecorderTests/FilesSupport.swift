import Foundation
import Glibc
import Posix
import Testing

@testable import Media
@testable import Recorder

/// A directory for one test, removed with it.
final class FilesDirectory: Sendable {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "/files-\(UUID().uuidString)"
        mkdir(path, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        try write(Array(text.utf8), to: name)
    }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        let file = "\(path)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }

    func bytes(of name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }

    var entries: [String] {
        get throws { try FileSystem.entries(of: path) }
    }
}

/// Transport stream packets, each with its number behind the sync byte.
func filesPackets(_ numbers: Range<Int>) -> [UInt8] {
    numbers.flatMap { number in
        [0x47] + withUnsafeBytes(of: UInt32(number).bigEndian) { Array($0) }
            + [UInt8](repeating: 0xAA, count: 183)
    }
}

func filesBox(_ type: String, _ payload: [UInt8] = []) -> [UInt8] {
    let size = UInt32(payload.count + 8).bigEndian
    return withUnsafeBytes(of: size) { Array($0) } + Array(type.utf8) + payload
}

/// A recording that starts at 2026-11-23 10:45:00 UTC.
func filesPart(
    in directory: String,
    stream: String = "cam",
    container: MediaContainer = .mpegTS,
    syncInterval: Duration = .seconds(5),
    now: BootTime = .now()
) throws -> PartFile {
    let name = RecordingName(
        directory: directory,
        stream: stream,
        startedAt: UTCTime(filesStart),
        part: 1,
        container: container
    )
    return try PartFile.create(
        name,
        syncInterval: syncInterval,
        now: now
    )
}

let filesStart = WallTime(nanoseconds: 1_795_430_700_000_000_000)
/// As in the name of a recording that starts then.
let filesTime = "20261123T104500Z"
let filesStem = "cam-\(filesTime)"

/// A program that holds something until it is released.
struct FilesHolder: ~Copyable {
    private let process = Process()
    private let input = Foundation.Pipe()

    /// Starts the program and waits for its first line.
    init(_ argv: [String]) throws {
        let output = Foundation.Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = argv
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            let more = output.fileHandleForReading.availableData
            try #require(!more.isEmpty)
            line += more
        }
    }

    /// Ends the program and waits for that.
    func release() throws {
        try input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}

/// What a program writes until it ends.
func filesOutput(_ argv: [String]) throws -> String {
    let process = Process()
    let output = Foundation.Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = argv
    process.standardOutput = output
    try process.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: bytes, as: UTF8.self)
}

/// Runs a program to its end; its exit status.
@discardableResult
func filesRun(_ argv: [String]) throws -> CInt {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = argv
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
}

/// Runs `body` as nobody if the tests run as root, whom permissions do not bind.
///
/// `setfsuid(2)` is of the calling thread alone, and takes root's power over files with it.
func filesUnprivileged<Result>(_ body: () throws -> Result) throws -> Result {
    guard geteuid() == 0 else { return try body() }
    typealias Call = @convention(c) (uid_t) -> CInt
    let symbol = try #require(dlsym(nil, "setfsuid"))
    let setFileSystemUser = unsafeBitCast(symbol, to: Call.self)
    _ = setFileSystemUser(65_534)
    defer { _ = setFileSystemUser(0) }
    return try body()
}

/// The error of ending the recording, which a macro cannot consume.
func filesError(finishing part: consuming PartFile) throws -> FinalizeError {
    do throws(FinalizeError) {
        _ = try part.finish()
    } catch {
        return error
    }
    throw CancellationError()
}
