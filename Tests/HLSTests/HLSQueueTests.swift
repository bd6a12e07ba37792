import Foundation
import Posix
import Testing

@testable import Fetch
@testable import HLS
@testable import Media

@Suite("the queue of segments")
struct HLSQueueTests {
    private let now = BootTime(nanoseconds: 1_000_000_000)

    @Test("no more requests than the width, and no time to wake up at while all are under way")
    func width() throws {
        var queue = queue("abcd")
        #expect(start(&queue) == ["a", "b", "c"])
        #expect(queue.nextTime == nil)
        end(&queue, "b", .timedOut)
        // "b" pauses, and "d" takes its place.
        #expect(start(&queue) == ["d"])
        #expect(queue.nextRequest(at: now.advanced(by: .seconds(9))) == nil)
        #expect(
            queue.nextTime == nil,
            "a pause that is over cannot be used while all are under way"
        )
        end(&queue, "a", nil)
        #expect(queue.nextTime == now.advanced(by: .milliseconds(500)))
        #expect(start(&queue) == [], "the pause is not over")
        #expect(start(&queue, at: now.advanced(by: .milliseconds(500))) == ["b"])
    }

    @Test("pauses double, and the last try decides")
    func tries() throws {
        var queue = queue("a")
        var time = now
        for pause in [500, 1000] {
            #expect(start(&queue, at: time) == ["a"])
            end(&queue, "a", .http(status: 500), at: time)
            #expect(queue.outcome(at: time) == nil)
            time = time.advanced(by: .milliseconds(pause))
            #expect(queue.nextTime == time)
        }
        #expect(start(&queue, at: time) == ["a"])
        end(&queue, "a", .http(status: 500), at: time)
        #expect(queue.outcome(at: time) == .missed(.fetch(.http(status: 500))))
        queue.removeFirst()
        #expect(queue.first == nil && queue.nextTime == nil)
    }

    @Test(
        "a server that asks for a longer pause gets it, within limits",
        arguments: [(0, 0.5), (3, 3), (3600, 30)] as [(Int, Double)]
    )
    func retryAfter(seconds: Int, pause: Double) throws {
        var queue = queue("a")
        #expect(start(&queue) == ["a"])
        end(&queue, "a", .http(status: 429, retryAfter: .seconds(seconds)))
        #expect(queue.nextTime == now.advanced(by: .milliseconds(Int(pause * 1000))))
    }

    @Test("a key that failed for one segment is asked for again by the next")
    func failedKey() throws {
        var queue = queue("ab", key: "k")
        #expect(start(&queue) == ["k", "a", "b"])
        end(&queue, "k", .http(status: 404))
        end(&queue, "a", nil)
        end(&queue, "b", nil)
        #expect(queue.outcome(at: now) == .missed(.key(.http(status: 404))))
        queue.removeFirst()
        #expect(queue.outcome(at: now) == nil)
        #expect(start(&queue) == ["k"])
    }

    @Test(
        "a stream waits for room, but for its next segment in order, and goes on when there is room"
    )
    func memory() throws {
        let memory = SegmentMemory(limit: 2 << 20)
        var (one, other) = (queue("abc", memory: memory), queue("xyz", memory: memory))
        #expect(
            start(&one) == ["a", "b", "c"],
            "a MiB each, but for the next, which has what it needs"
        )
        #expect(memory.usedBytes == 2 << 20)
        #expect(start(&other) == ["x"])
        #expect(other.waits == 1 && one.waits == 0)
        let next = one.reservation(for: request("a"))?.cover(40 << 20)
        #expect(next == true, "also beyond the limit")
        #expect(one.reservation(for: request("b"))?.cover(3 << 20) == false)
        end(&one, "b", .noRoom)
        #expect(start(&one) == [], "it waits for its turn")
        end(&one, "a", nil)
        #expect(one.outcome(at: now) != nil)
        one.removeFirst()
        #expect(start(&one) == ["b"], "a try that found no room does not count")
        #expect(one.reservation(for: request("b"))?.cover(3 << 20) == true)
        end(&one, "b", nil)
        end(&one, "c", nil)
        #expect(memory.usedBytes < 1 << 20)
        #expect(start(&other) == ["y"], "another MiB is there")
        #expect(other.waits == 2)
        other = queue("", memory: memory)
        one = queue("", memory: memory)
        #expect(memory.usedBytes == 0)
    }

    @Test("the next in order waits for no place, where all are taken by others", arguments: [1, 3])
    func place(width: Int) throws {
        var settings = SegmentQueue.Settings()
        (settings.width, settings.memory) = (width, SegmentMemory(limit: 9 << 20))
        var queue = SegmentQueue(settings)
        queue.append("abcd".map { MediaSegment(url: url("\($0)"), duration: .seconds(1)) })
        _ = start(&queue)
        end(&queue, "a", .http(status: 404))
        _ = start(&queue)
        #expect(queue.outcome(at: now) == .missed(.fetch(.http(status: 404))))
        queue.removeFirst()
        if width == 3 {
            end(&queue, "b", .noRoom)
            #expect(start(&queue).first == "b")
        } else {
            #expect(queue.nextTime == nil && start(&queue) == [])
        }
    }

    @Test("an address that is too long together with its playlist's costs its segment")
    func longAddress() throws {
        let document = PlaylistDocument(at: url(String(repeating: "d", count: 5000) + "/x.m3u8"))
        let long = MediaReference(String(repeating: "s", count: 5000), in: document)
        var queue = queue("")
        queue.append([MediaSegment(address: long, duration: .seconds(1))])
        #expect(start(&queue) == [])
        #expect(queue.outcome(at: now) == .missed(.address(.tooLong)))
        queue.removeFirst()
        #expect(queue.first == nil)
    }

    private func request(_ name: String) -> FetchRequest {
        FetchRequest(url: url(name), range: nil, limits: SegmentQueue.Settings().segment)
    }

    /// Starts what is due; the names of what was started.
    private func start(_ queue: inout SegmentQueue, at time: BootTime? = nil) -> [String] {
        var names: [String] = []
        while let request = queue.nextRequest(at: time ?? now) {
            let name = request.url.lastPathComponent
            queue.began(request, id: id(name))
            names.append(name)
        }
        return names
    }

    private func queue(
        _ names: String,
        key: String? = nil,
        memory: SegmentMemory = SegmentMemory()
    ) -> SegmentQueue {
        var settings = SegmentQueue.Settings()
        settings.memory = memory
        var queue = SegmentQueue(settings)
        let key = key.map { SegmentKey(url: url($0), initializationVector: nil) }
        queue.append(names.map { MediaSegment(url: url("\($0)"), duration: .seconds(1), key: key) })
        return queue
    }

    private func id(_ name: String) -> Int { name.utf8.first.map(Int.init) ?? 0 }

    private func end(
        _ queue: inout SegmentQueue,
        _ name: String,
        _ error: FetchError?,
        at time: BootTime? = nil
    ) {
        let result: Result<FetchedBody, FetchError> =
            error.map { .failure($0) }
            ?? .success(FetchedBody(bytes: packets(name), url: url(name)))
        queue.take(.init(id: id(name), result: result), at: time ?? now)
    }

    private func url(_ name: String) -> URL {
        URL(string: "http://h/\(name)") ?? URL(filePath: "/")
    }
}
