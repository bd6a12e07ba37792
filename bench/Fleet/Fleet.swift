import Glibc
import Posix
import StreamVaultTelemetry

/// All recorders, and the one loop in which they live.
struct Fleet {
    private let template: Template
    private var recorders: [String: FleetRecorder] = [:]
    private var stopping: Set<String> = []
    private var nextBeat = BootTime.now()
    private var pending: [UInt8] = []
    private var started: UInt64 = 0

    init(_ template: Template) {
        self.template = template
    }

    mutating func run() throws {
        let input = FileDescriptor(adopting: 0)
        var loop = EventLoop()
        loop.watch(input.rawValue, for: .reading)
        while true {
            let steps = stopping.compactMap { recorders[$0]?.nextStep }
            _ = try loop.wait(until: steps.min().map { min($0, nextBeat) } ?? nextBeat)
            if loop.isReady(0), try !readCommands(from: input) { return }
            if nextBeat <= .now() { beat() }
            goOn()
        }
    }

    private mutating func beat() {
        nextBeat = BootTime.now().advanced(by: .seconds(1))
        for directory in recorders.keys { recorders[directory]?.beat() }
    }

    private mutating func goOn() {
        for directory in stopping where recorders[directory]?.goOn(at: .now()) ?? true {
            recorders.removeValue(forKey: directory)?.leave()
            stopping.remove(directory)
            print("ended \(directory)")
            fflush(nil)
        }
    }

    /// Heeds all whole lines; `false` at the end of the input.
    private mutating func readCommands(from input: borrowing FileDescriptor) throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = try unsafe buffer.withUnsafeMutableBytes { try unsafe input.read(into: $0) }
        guard count > 0 else { return false }
        pending += buffer.prefix(count)
        while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: pending[..<end], as: UTF8.self)
            pending.removeSubrange(...end)
            try heed(line.split(separator: " ").map(String.init))
        }
        return true
    }

    private mutating func heed(_ words: [String]) throws(FleetError) {
        switch words.first {
        case "start" where words.count == 3:
            started += 1
            let published = try template.start(in: words[1], named: words[2])
            recorders[words[1]] = FleetRecorder(published, seed: started)
        case "stop" where words.count == 4:
            guard let ending = Ending(rawValue: words[2]), let seconds = Double(words[3]) else {
                throw FleetError("no such end: \(words)")
            }
            recorders[words[1]]?.stop(ending, recordings: .seconds(seconds), at: .now())
            stopping.insert(words[1])
        default: throw FleetError("no such command: \(words)")
        }
    }
}
