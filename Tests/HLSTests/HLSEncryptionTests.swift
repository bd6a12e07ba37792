import Foundation
import Posix
import TestSupport
import Testing

@testable import HLS

@Suite("encrypted HLS", .timeLimit(.minutes(5)))
struct HLSEncryptionTests {
    private typealias Reply = ScriptedServer.Reply

    private let stop: StopSignal
    private let lines = CollectedLines()
    private let first = Array("0123456789abcdef".utf8)
    private let second = Array("fedcba9876543210".utf8)

    init() throws {
        stop = try StopSignal()
    }

    @Test(
        "what openssl encrypts comes out again, of any length",
        arguments: [1, 15, 16, 17, 376, 100_000]
    )
    func roundTrip(_ count: Int) throws {
        let plain = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let secret = try encrypt(plain, key: first, vector: second)
        #expect(AES128.decrypt(secret, key: first, initializationVector: second) == plain)
        #expect(
            AES128.decrypt(secret.dropLast(1) + [], key: first, initializationVector: second) == nil
        )
        #expect(AES128.decrypt([], key: first, initializationVector: second) == nil)
    }

    @Test("the vector in NIST's example of CBC (SP 800-38A, F.2.1)")
    func publishedVector() throws {
        let key = bytes("2b7e151628aed2a6abf7158809cf4f3c")
        let vector = bytes("000102030405060708090a0b0c0d0e0f")
        let secret = bytes("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2")
        // The example has no padding: its second block must be refused, and both decrypt with one of padding behind.
        #expect(AES128.decrypt(secret, key: key, initializationVector: vector) == nil)
        let plain = bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
        let padded = secret + (try encrypt([], key: key, vector: Array(secret.suffix(16))))
        #expect(AES128.decrypt(padded, key: key, initializationVector: vector) == plain)
    }

    @Test(
        "segments with vectors given and from their numbers, rotated keys, and plain ones between"
    )
    func rotation() async throws {
        let number = [UInt8](repeating: 0, count: 15)
        let a = try encrypt(packets("a"), key: first, vector: number + [7])
        let b = try encrypt(packets("b"), key: first, vector: number + [8])
        let c = try encrypt(packets("c"), key: second, vector: first)
        let (first, second) = (first, second)
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8":
                .text(
                    """
                    #EXTM3U
                    #EXT-X-TARGETDURATION:1
                    #EXT-X-MEDIA-SEQUENCE:7
                    #EXT-X-KEY:METHOD=AES-128,URI="k1?token=secret"
                    #EXTINF:1,
                    a.ts
                    #EXTINF:1,
                    b.ts
                    #EXT-X-KEY:METHOD=AES-128,URI="k2",IV=0x30313233343536373839616263646566
                    #EXTINF:1,
                    c.ts
                    #EXT-X-KEY:METHOD=NONE
                    #EXTINF:1,
                    d.ts
                    #EXT-X-ENDLIST
                    """
                )
            case "/k1?token=secret": Reply(body: first)
            case "/k2": Reply(body: second)
            case "/a.ts": Reply(body: a)
            case "/b.ts": Reply(body: b)
            case "/c.ts": Reply(body: c)
            default: media(path)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcd")
        #expect(server.requests.count { $0.hasPrefix("/k") } == 2, "each key is fetched once")
        #expect(lines.all == [])
    }

    @Test("a part of a resource and a header are encrypted each by itself")
    func rangesAndHeaders() async throws {
        let header = mp4Box("ftyp") + mp4Box("moov")
        let fragment = mp4Box("moof") + mp4Box("mdat", [1, 2, 3])
        let secretHeader = try encrypt(header, key: first, vector: second)
        let secret = try encrypt(fragment, key: first, vector: second)
        let all = secretHeader + secret
        let key = first
        let list = """
            #EXTM3U
            #EXT-X-TARGETDURATION:1
            #EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x66656463626139383736353433323130
            #EXT-X-MAP:URI="all.mp4",BYTERANGE="\(secretHeader.count)@0"
            #EXTINF:1,
            #EXT-X-BYTERANGE:\(secret.count)@\(secretHeader.count)
            all.mp4
            #EXT-X-ENDLIST
            """
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8": .text(list)
            case "/k": Reply(body: key)
            default: Reply(body: all, knowsRanges: true)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.bytes == header + fragment)
    }

    @Test("a key that was replaced under its address is fetched again")
    func replacedKey() async throws {
        let secret = try encrypt(packets("a"), key: second, vector: first)
        let (first, second) = (first, second)
        let server = try ScriptedServer { path, before in
            switch path {
            case "/live.m3u8": .text(oneSegment)
            case "/k": Reply(body: before == 0 ? first : second)
            default: Reply(body: secret)
            }
        }
        let outcome = await run(server)
        #expect(outcome.collected.names == "a")
        #expect(outcome.collected.missed == [])
    }

    @Test(
        "a segment whose key cannot be had, or does not fit, is missed, with the reason and without a token",
        arguments: [
            (.status(404), "key: HTTP status 404"), (.text("short"), "key of 5 bytes"),
            (.init(body: .init(repeating: 1, count: 300)), "key: larger than 256 bytes"),
            (.redirect("file:///etc/passwd"), "key: redirect: address of scheme file refused"),
            (
                .init(body: .init(repeating: 1, count: 16)),
                "384 bytes that are not a transport stream"
            ),
        ] as [(ScriptedServer.Reply, String)]
    )
    func badKey(_ answer: ScriptedServer.Reply, reason: String) async throws {
        let secret = try encrypt(packets("a"), key: first, vector: first)
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8": .text(oneSegment)
            case "/k": answer
            default: Reply(body: secret)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.bytes == [] && outcome.collected.missed == [1])
        #expect(lines.all.count == 1 && lines.all[0].hasPrefix("\(reason) ("))
    }

    private func run(_ server: ScriptedServer) async -> HLSOutcome {
        let source = hlsStream(server.url("/live.m3u8"), log: lines.append)
        return await source.read(until: stop)
    }

    /// Encrypts as `openssl` does.
    private func encrypt(_ plain: [UInt8], key: [UInt8], vector: [UInt8]) throws -> [UInt8] {
        let file = FileManager.default.temporaryDirectory.appending(path: "aes-\(UUID())")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(plain).write(to: file)
        let secrets = ["-K", hex(key), "-iv", hex(vector), "-in", file.path]
        var program = try Subprocess.spawn(["openssl", "enc", "-aes-128-cbc"] + secrets)
        let secret = try program.output.readAll(atMost: 1 << 20)
        #expect(program.wait() == .code(0))
        return try #require(secret)
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String(format: "%02x", $0) }.joined()
    }

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
}

private let oneSegment = """
    #EXTM3U
    #EXT-X-TARGETDURATION:1
    #EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x30313233343536373839616263646566
    #EXTINF:1,
    a.ts
    #EXT-X-ENDLIST
    """
