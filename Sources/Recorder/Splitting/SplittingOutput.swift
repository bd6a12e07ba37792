import Media
import Posix

/// Passes on what a program writes; when a split is due, in two parts that each play by themselves.
struct SplittingOutput {
    private let sink: any MediaSink
    /// While a place is looked for.
    private var cutter: TransportStreamCutter?
    /// When to say that none is found.
    private var complaintDue: BootTime?

    private static let patience = Duration.seconds(30)

    init(into sink: any MediaSink) {
        self.sink = sink
    }

    mutating func append(_ media: ArraySlice<UInt8>) throws(SystemError) {
        guard cutter != nil || sink.isSplitDue else { return try sink.append(media.span) }
        if cutter == nil { complaintDue = BootTime.now().advanced(by: Self.patience) }
        var cutter = cutter.take() ?? TransportStreamCutter()
        let progress = cutter.take(media)
        if !progress.before.isEmpty { try sink.append(progress.before.span) }
        if let cut = progress.cut { return try split(at: cut) }
        self.cutter = cutter
        complainIfDue()
    }

    /// Passes on what was kept back, when nothing more is to come.
    mutating func finish() throws(SystemError) {
        guard let rest = cutter.take()?.rest, !rest.isEmpty else { return }
        try sink.append(rest.span)
    }

    private func split(at cut: TransportStreamCutter.Cut) throws(SystemError) {
        if sink.split(.mpegTS) { try sink.append(cut.tables.span) }
        try sink.append(cut.media.span)
    }

    private mutating func complainIfDue() {
        guard let due = complaintDue, due <= .now() else { return }
        complaintDue = nil
        sink.note(.splitOverdue)
    }
}
