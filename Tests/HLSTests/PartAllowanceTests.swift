import Foundation
import Posix
import Testing

@testable import HLS

@Suite("parts that come too fast")
struct PartAllowanceTests {
    @Test(
        "a break before each segment makes sixteen more parts, then one each five seconds, and loses nothing"
    )
    func breaks() throws {
        var collected = HLSCollected()
        for index in 0..<100 {
            collected.append(try unit("x"), UInt64(index), isDiscontinuous: true, at: time(0))
        }
        #expect(collected.parts.count == 17)
        #expect(collected.names.count == 100)
        #expect(collected.joined == 83)
        let markers = stride(from: 0, to: collected.bytes.count, by: 188).count {
            isMarker(Array(collected.bytes[$0..<$0 + 188]))
        }
        #expect(markers == 83, "players are told")
        for (second, count) in [(4.9, 17), (5.0, 18), (5.1, 18), (14.9, 19), (3600, 20)] {
            collected.append(try unit("y"), 200, isDiscontinuous: true, at: time(second))
            #expect(collected.parts.count == count, "\(second)")
        }
    }

    @Test("8 MiB of media allow another part, and sixteen are the most that are saved up")
    func bytes() throws {
        var allowance = PartAllowance()
        #expect(taken(from: &allowance, at: time(0)) == 16)
        allowance.wrote((8 << 20) - 1)
        #expect(taken(from: &allowance, at: time(0)) == 0)
        allowance.wrote(1)
        #expect(taken(from: &allowance, at: time(0)) == 1)
        allowance.wrote(1 << 40)
        #expect(taken(from: &allowance, at: time(0)) == 16)
        #expect(allowance.dueTime(at: time(2)) == time(5))
        #expect(taken(from: &allowance, at: BootTime(nanoseconds: .max)) == 16)
        #expect(taken(from: &allowance, at: time(0)) == 0, "a clock that goes back adds nothing")
    }

    @Test("a header that changes with each segment is written before its fragments")
    func headers() throws {
        var collected = HLSCollected()
        var expected: [UInt8] = []
        for index in 0..<40 {
            let unit = try fragments(header: UInt8(index))
            collected.append(unit, UInt64(index), at: time(0))
            expected += (unit.header ?? []) + unit.media
        }
        #expect(collected.parts.count == 17)
        #expect(collected.bytes == expected)
    }

    @Test("another container waits until it may have a file")
    func containers() throws {
        var collected = HLSCollected()
        var now = time(0)
        for index in 0..<40 {
            let unit = index % 2 == 0 ? try unit("x") : try fragments(header: 1)
            if let due = collected.sequence.dueTime(of: unit, at: now) {
                #expect(due > now && due <= now.advanced(by: .seconds(5)))
                now = due
            }
            collected.append(unit, UInt64(index), at: now)
        }
        #expect(collected.parts.count == 40)
        #expect(now >= time(5 * 23))
    }

    /// How many parts may begin now.
    private func taken(from allowance: inout PartAllowance, at now: BootTime) -> Int {
        var count = 0
        while count < 100, allowance.take(at: now) { count += 1 }
        return count
    }

    private func unit(_ name: String) throws -> MediaUnit {
        try MediaUnit(header: nil, media: packets(name))
    }

    private func fragments(header: UInt8) throws -> MediaUnit {
        try MediaUnit(
            header: box("ftyp", [header]) + box("moov", []),
            media: box("moof", []) + box("mdat", [1])
        )
    }

    private func box(_ type: String, _ content: [UInt8]) -> [UInt8] {
        [0, 0, 0, UInt8(8 + content.count)] + Array(type.utf8) + content
    }

    private func time(_ seconds: Double) -> BootTime {
        BootTime(nanoseconds: 1_000_000_000).advanced(by: .seconds(seconds))
    }
}
