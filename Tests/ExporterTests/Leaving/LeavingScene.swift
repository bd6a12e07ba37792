import Posix

@testable import Exporter

/// Recorders, scrapers and signals around one `Leaving`, played in virtual time; all times are seconds from the exporter's start.
struct LeavingScene: CustomStringConvertible {
    struct Recorder {
        var stops = Double.infinity
        var ends = Double.infinity
        var deadline: Double?
        /// When its loop stands still for good.
        var hangs = Double.infinity

        func stage(at now: Double, _ number: UInt8) -> RecorderStage {
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
        var reason: Departure.Reason
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

    init(_ description: String, _ change: (inout LeavingScene) -> Void) {
        self.description = description
        change(&self)
    }

    private static let step = 0.05

    /// How it ends; `nil` when the exporter stays for an hour.
    func play() -> Ending? {
        var leaving = Leaving(policy, startedAt: seconds(0))
        var connections = Connections(open: scrapers.map { _ in nil })
        for tick in 0..<Int(3600 / Self.step) {
            let now = Double(tick) * Self.step
            for mark in marks where isNow(mark, now) { leaving.noteTermination(at: seconds(now)) }
            for index in scrapers.indices { act(index, now, &leaving, &connections) }
            for signal in signals where isNow(signal, now) { leaving.noteSignal(at: seconds(now)) }
            if leaving.hasBegun { look(&leaving, now) }
            guard case .leave(let departure) = leaving.decide(at: seconds(now)) else { continue }
            return Ending(
                reason: departure.reason,
                time: (now * 100).rounded() / 100,
                collected: departure.collected.count,
                missed: departure.missed.count
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
        _ leaving: inout Leaving,
        _ connections: inout Connections
    ) {
        let scraper = scrapers[index]
        if isDue(scraper, now) {
            look(&leaving, now)
            if connections.open[index] == nil { connections.last += 1 }
            let connection = connections.open[index] ?? connections.last
            let kind = ScraperKind(peer: "10.0.0.1", agent: scraper.agent)
            let tag = leaving.noteScrape(by: kind, connection, at: seconds(now))
            if let tag, scraper.acknowledges { _ = leaving.noteDelivery(tag) }
            connections.open[index] = connection
        }
        let closes = !scraper.keepsAlive || leaving.awaited == .scrapers
        if let connection = connections.open[index], closes || isNow(scraper.until, now) {
            leaving.noteEnd(of: connection, at: seconds(now))
            connections.open[index] = nil
        }
    }

    private func look(_ leaving: inout Leaving, _ now: Double) {
        let stages = recorders.enumerated().map { $1.stage(at: now, UInt8($0)) }
        leaving.noteLook(stages, at: seconds(now))
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
