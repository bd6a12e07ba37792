import FoundationEssentials
import FuzzSupport
import JSON
import Posix

@testable import Recorder

/// Any bytes are a configuration or have mistakes, each reported in one line; what is read is read the same way again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    switch Result(catching: { () throws(JSONError) in try readJSON5(bytes) }) {
    case .failure(let error):
        require(isLine("\(error)"), "one line: \(error)")
        guard case .line(let line, let column) = error.place else {
            fatalError("no line: \(error)")
        }
        require((1...count + 1).contains(column) && line > 0, "within the text: \(error)")
    case .success(let document):
        let spelling = document.spelling
        let again = try? readJSON5(Array(spelling.utf8))
        require(again?.spelling == spelling, "the same: \(spelling)")
        agreesWithFoundation(document, String(decoding: bytes, as: UTF8.self))
        check(document)
    }
    return 0
}

private func readJSON5(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    try JSONReader.read(bytes, as: .json5)
}

private func check(_ document: JSONValue) {
    do throws(ConfigurationError) {
        hold(try Configuration.check(document, arguments: Arguments(configPath: "x")))
    } catch {
        require(!error.lines.isEmpty && error.lines.allSatisfy(isLine), "lines: \(error.lines)")
    }
}

/// What the recorder relies upon.
private func hold(_ configuration: Configuration) {
    require(ConfigurationRules.isName(configuration.recorderName), "a name")
    require(
        Configuration.gracePeriodBounds.contains(configuration.gracePeriod)
            && Configuration.syncIntervalBounds.contains(configuration.syncInterval)
            && Configuration.resumeWindowBounds.contains(configuration.resumeWindow),
        "durations within their bounds"
    )
    require(!configuration.listenAddresses.isEmpty, "an address to listen at")
    for text in configuration.listenAddresses {
        guard let address = try? ListenAddress(text) else { continue }
        require((try? ListenAddress(address.description)) == address, "\(address) is read again")
    }
    let streams = configuration.streams
    require(Set(streams.map(\.name)).count == streams.count, "names of their own")
    for stream in streams { hold(stream) }
}

private func hold(_ stream: StreamConfiguration) {
    require(ConfigurationRules.isName(stream.name), "a name")
    require((stream.title?.utf8.count ?? 0) <= 256, "a title that fits a record")
    require(stream.broadcaster == nil || stream.record == .onDemand, "one switch only")
    switch stream.source {
    case .hls(let url, _, _):
        let isHTTP = ["http", "https"].contains(url.scheme?.lowercased())
        require(isHTTP && url.host() != nil, "an address of HTTP: \(url)")
    case .command(let argv, _):
        let holdsZero = argv.contains { $0.utf8.contains(0) }
        require(argv.first?.isEmpty == false && !holdsZero, "what execve takes: \(argv)")
    }
}

/// Whether an operator sees one line of it, with nothing in it that a terminal would obey.
private func isLine(_ text: String) -> Bool {
    !text.isEmpty && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
}
