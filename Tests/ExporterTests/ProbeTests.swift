import HTTP
import TelemetryStage
import Testing

@testable import Exporter

/// The text of the probes, after what a kube-apiserver answers.
@Suite("Probes")
struct ProbeTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    @Test(
        "answer ok, or list the checks",
        arguments: [
            ("/livez", 200, "ok"),
            ("/livez?verbose", 200, "[+]ping ok\n[+]recorder/cam-1 ok\nlivez check passed\n"),
            ("/livez?verbose=false", 200, "[+]ping ok\n[+]recorder/cam-1 ok\nlivez check passed\n"),
            ("/livez/ping", 200, "ok"), ("/livez/recorder/cam-1", 200, "ok"),
            ("/livez/recorder/cam-2", 200, "ok"),
            (
                "/readyz", 503,
                "[+]ping ok\n[-]recorder/cam-1 failed: stopping: shutting down\nreadyz check failed\n"
            ),
            ("/readyz/ping", 200, "ok"),
            (
                "/readyz/recorder/cam-1", 503,
                "[-]recorder/cam-1 failed: stopping: shutting down\n"
            ),
            ("/readyz?exclude=recorder/cam-1", 200, "ok"),
            (
                "/readyz?verbose&exclude=recorder%2Fcam-1&exclude=ping", 200,
                "[+]ping excluded: ok\n[+]recorder/cam-1 excluded: ok\nreadyz check passed\n"
            ),
            (
                "/livez?verbose&exclude=x&exclude=a%22%0Ab&exclude=ping", 200,
                "[+]ping excluded: ok\n[+]recorder/cam-1 ok\n"
                    + "warn: some health checks cannot be excluded: no matches for \"a\\\"\\nb\",\"x\"\n"
                    + "livez check passed\n"
            ),
            ("/startupz?verbose", 200, "[+]ping ok\n[+]recorder/cam-1 ok\nstartupz check passed\n"),
            ("/startupz/recorder/cam-2", 503, nil), ("/livez/recorder", 404, nil),
            ("/livez/recorder/", 404, nil), ("/livez/recorder/../x", 404, nil),
            ("/livez/", 404, nil),
        ] as [(String, Int, String?)]
    )
    func text(_ target: String, _ status: Int, _ text: String?) throws {
        let runs = try Scene.stopping.set(in: files.path)
        var served = try Served(files.path)
        let response = try served.ask(target)
        #expect(response.status.code == status)
        if let text { #expect(response.text == text) }
        #expect(response.contentType == "text/plain; charset=utf-8")
        if status != 404 { #expect(response.header("X-Content-Type-Options") == "nosniff") }
        withExtendedLifetime(runs) {}
    }

    @Test("have a check for each recorder, which can be requested alone")
    func several() throws {
        let runs = try Scene.several.set(in: files.path)
        var served = try Served(files.path)
        #expect(
            try served.ask("/livez").text == """
                [+]ping ok
                [-]recorder/attic failed: killed: it died during its shutdown, in recordings
                [+]recorder/gate ok
                [+]recorder/yard ok
                livez check failed

                """
        )
        #expect(try served.ask("/livez/recorder/gate").status.code == 200)
        #expect(try served.ask("/livez/recorder/attic").status.code == 503)
        #expect(try served.ask("/livez?exclude=recorder/attic").status.code == 200)
        withExtendedLifetime(runs) {}
    }

    @Test("keep one line a check, whatever a phase is called")
    func hostilePhase() throws {
        let runs = try Scene.hostile.set(in: files.path)
        var served = try Served(files.path)
        let lines = try served.ask("/readyz").text.split(separator: "\n")
        #expect(lines.count == 3)
        withExtendedLifetime(runs) {}
    }
}
