import Foundation
import HTTP
import Posix

/// What the recorder answers over HTTP, from the first recording to the last moment of the shutdown.
struct RecorderAPI: Sendable {
    let roster: Roster

    func respond(to request: Request) -> Response {
        switch request.path {
        case "/health": onlyReading(request) { health() }
        case "/api/recording/active": onlyReading(request) { activeRecordings() }
        default: .notFound
        }
    }

    private func onlyReading(_ request: Request, _ answer: () -> Response) -> Response {
        switch request.method {
        case .get, .head: answer()
        default: .methodNotAllowed(allow: [.get, .head])
        }
    }

    /// 200 also while stopping: a failure then would have the recordings killed.
    private func health() -> Response {
        var body = Health(
            status: "ok",
            recorder: roster.name,
            activeRecordings: roster.active.count
        )
        if let shutdown = roster.shutdownState {
            body.status = "stopping"
            body.phase = shutdown.phase.rawValue
            body.secondsLeft = shutdown.deadline.since(.now()).inSeconds
        }
        return .json(body)
    }

    private func activeRecordings() -> Response {
        let now = BootTime.now()
        return .json(roster.active.map { Active($0, now: now) })
    }
}

private struct Health: Encodable {
    var status: String
    let recorder: String
    let activeRecordings: Int
    var phase: String?
    var secondsLeft: Double?
}

private struct Active: Encodable {
    let id: Int64
    let stream: String
    let title: String?
    let startedAt: String
    let filePath: String
    let status: String
    /// Whole seconds since the start.
    let duration: Int
    let bytes: Int

    init(_ recording: ActiveRecording, now: BootTime) {
        id = recording.id
        stream = recording.stream
        title = recording.title
        startedAt = recording.startedAt.iso8601
        filePath = recording.filePath
        status = recording.status.rawValue
        duration = Int(now.since(recording.startedBoot).inSeconds)
        bytes = recording.bytes
    }
}

extension Response {
    /// JSON with names such as `started_at`.
    static func json(_ value: some Encodable) -> Response {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let body = try? encoder.encode(value) else {
            return .text(.internalError, "no answer")
        }
        return Response(contentType: "application/json", body: Array(body) + [0x0A])
    }
}
