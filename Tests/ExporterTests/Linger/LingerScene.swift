import Posix

@testable import Exporter

/// Recorders, scrapers and signals around one `LingerState`, played in virtual time; all times are seconds from the exporter's start.
struct LingerScene: CustomStringConvertible {
    struct Recorder {
        var stops = Double.infinity
        var ends = Double.infinity
        var deadline: Double?
        /// When its loop stands still for good.
        var hangs = Double.infinity

        func progress(at now: Double, _ number: UInt8) -> ExitProgress {
            if now >= ends { return .over(run: [number]) }
            if now >= hangs + 10 { return .hung(run: [number]) }
            if hangs < .infinity {
                return .running(heartbeat: seconds(min(now, hangs)))
            }
            if now >= stops { return .stopping(deadline: deadline.map { seconds($0) }) }
            return .running(heartbeat: nil)
        }
    }

    struct Scraper {
        var agent = "Prometheus/3.4.0"
        var every: Double
        var from = 0.0
        var until = Double.infinity
        /// Whether what is sent to it is ever acknowledged.
        var acknowledges = true
        var keepsAlive = true
    }

    struct Ending: Equatable, CustomStringConvertible {
        var reason: ExitReason
        var time: Double
        var collected = 0
        var missed = 0

        var description: String {
            "\(reason) at \(time), collected \(collected), missed \(missed)"
        }
    }

    let description: String
    var policy = LingerPolicy()
    var recorders: [Recorder] = []
    var scrapers: [Scraper] = []
    var signals: [Double] = []
    var marks: [Double] = []

    init(_ description: String, _ change: (inout LingerScene) -> Void) {
        self.description = description
        change(&self)
    }

    private static let step = 0.05

    /// How it ends; `nil` when the exporter stays for an hour.
    func play() -> Ending? {
        var linger = LingerState(policy, startedAt: seconds(0))
        var connections = Connections(open: scrapers.map { _ in nil })
        for tick in 0..<Int(3600 / Self.step) {
            let now = Double(tick) * Self.step
            for mark in marks where isNow(mark, now) { linger.noteTermination(at: seconds(now)) }
            for index in scrapers.indices { act(index, now, &linger, &connections) }
            for signal in signals where isNow(signal, now) { linger.noteSignal(at: seconds(now)) }
            if linger.hasBegun { read(&linger, now) }
            guard case .exit(let decision) = linger.decide(at: seconds(now)) else { continue }
            return Ending(
                reason: decision.reason,
                time: (now * 100).rounded() / 100,
                collected: decision.collected.count,
                missed: decision.missed.count
            )
        }
        return nil
    }

    private struct Connections {
        /// That of each scraper.
        var open: [UInt64?]
        var last: UInt64 = 0
    }

    private func act(
        _ index: Int,
        _ now: Double,
        _ linger: inout LingerState,
        _ connections: inout Connections
    ) {
        let scraper = scrapers[index]
        if isDue(scraper, now) {
            read(&linger, now)
            if connections.open[index] == nil { connections.last += 1 }
            let connection = connections.open[index] ?? connections.last
            let identity = ScraperIdentity(peer: "10.0.0.1", agent: scraper.agent)
            let tag = linger.noteScrape(by: identity, connection, at: seconds(now))
            if let tag, scraper.acknowledges { _ = linger.noteAcknowledged(tag) }
            connections.open[index] = connection
        }
        let closes = !scraper.keepsAlive || linger.waitingFor == .scrapers
        if let connection = connections.open[index], closes || isNow(scraper.until, now) {
            linger.noteEnd(of: connection, at: seconds(now))
            connections.open[index] = nil
        }
    }

    private func read(_ linger: inout LingerState, _ now: Double) {
        let stages = recorders.enumerated().map { $1.progress(at: now, UInt8($0)) }
        linger.update(stages, at: seconds(now))
    }

    private func isNow(_ time: Double, _ now: Double) -> Bool { abs(time - now) < Self.step / 2 }

    private func isDue(_ scraper: Scraper, _ now: Double) -> Bool {
        guard now > scraper.from - Self.step / 2, now < scraper.until else { return false }
        let count = ((now - scraper.from) / scraper.every).rounded()
        return isNow(scraper.from + count * scraper.every, now)
    }
}

/// So many seconds after the exporter's start.
func seconds(_ time: Double) -> BootTime {
    BootTime(nanoseconds: 1_000_000_000_000).advanced(by: .milliseconds(Int64(time * 1000)))
}
