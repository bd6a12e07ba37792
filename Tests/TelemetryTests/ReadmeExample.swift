// The README's example, word for word between the marks; `ReadmeExampleTests` compares the two.
import StreamVaultTelemetry

func readmeExample(in directory: String) throws {
    // begin
    let phases = [
        PhaseBudget("recordings", budget: .seconds(30)),
        PhaseBudget("upload", budget: .seconds(10)),
    ]
    let publisher = try Publisher(
        directory: directory,
        name: "cam-1",
        version: "1.0.0",
        phases: phases
    )
    if let warning = publisher.warning { print(warning) }  // Telemetry never costs a recording.
    let frames = publisher.counter(
        "cam_frames_total",
        "Frames received.",
        labels: ["camera": "gate"]
    )
    publisher.enter(.recording)

    let recording = publisher.startRecording(
        id: 1,
        stream: "gate",
        path: "/rec/gate.ts",
        container: "ts"
    )
    for _ in 0..<3 {
        publisher.heartbeat()  // From the loop that does the work.
        frames.add(25)
        recording.wrote(188 * 100)
    }

    publisher.beginShutdown(signal: 15, gracePeriod: .seconds(60))  // Its first phase, too.
    recording.finalizing()
    recording.end(.interrupted)
    publisher.beginPhase("upload")
    publisher.finish(exitStatus: 0)
    // end
}
