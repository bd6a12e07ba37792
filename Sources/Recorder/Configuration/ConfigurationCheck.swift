import Glibc
import Posix
import Twitch

extension Configuration {
    /// Checks the files and directories that the configuration names, as a start would, but creates and changes nothing.
    ///
    /// For `--check-config`. Only a start can find that an address is in use.
    ///
    /// - Throws: everything that would make a start fail, one line each.
    func checkSurroundings(
        _ environment: [String: String],
        _ log: Log
    ) throws(ConfigurationError) {
        var lines: [String] = []
        func check(_ body: () throws(StartError) -> Void) {
            do throws(StartError) { try body() } catch { lines.append(error.description) }
        }
        check { () throws(StartError) in
            try StartError.wrapping("recordings_dir") { () throws(SystemError) in
                try checkDirectory(recordingsDirectory)
            }
        }
        check { () throws(StartError) in
            try StartError.wrapping("log.file") { () throws(SystemError) in try checkLogFile() }
        }
        check { () throws(StartError) in
            _ = try Recorder.loadToken(bearerTokenFile, environment, log)
        }
        if let twitch {
            check { () throws(StartError) in
                _ = try TwitchService.eventSubSecret(twitch.eventSubSecretFile, environment, log)
            }
            if let application = twitch.application {
                check { () throws(StartError) in
                    _ = try TwitchService.clientSecret(
                        application.clientSecretFile,
                        environment,
                        log
                    )
                }
            }
        }
        for case .unix(let path)? in listenAddresses.map({ try? ListenAddress($0) }) {
            check { () throws(StartError) in
                try StartError.wrapping("web.listen_address") { () throws(SystemError) in
                    try FileSystem.checkWritable(parent(of: path))
                }
            }
        }
        guard lines.isEmpty else { throw ConfigurationError(lines: lines) }
    }

    /// A start creates the directory if it is missing, but not those above it.
    private func checkDirectory(_ path: String) throws(SystemError) {
        let status: stat
        do throws(SystemError) {
            status = try FileSystem.status(of: path)
        } catch {
            guard error.code == ENOENT else { throw error }
            return try FileSystem.checkWritable(parent(of: path))
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw SystemError(call: "open \(path)", code: ENOTDIR)
        }
        try FileSystem.checkWritable(path)
    }

    private func checkLogFile() throws(SystemError) {
        guard let logFile else { return }
        do throws(SystemError) {
            let status = try FileSystem.status(of: logFile)
            if status.st_mode & S_IFMT == S_IFDIR {
                throw SystemError(call: "open \(logFile)", code: EISDIR)
            }
            try retrying("access \(logFile)") { unsafe access(logFile, W_OK) }
        } catch {
            guard error.code == ENOENT else { throw error }
            try FileSystem.checkWritable(parent(of: logFile))
        }
    }
}

/// The directory that contains a path.
private func parent(of path: String) -> String {
    var parts = path.split(separator: "/", omittingEmptySubsequences: true)
    _ = parts.popLast()
    let start = path.hasPrefix("/") ? "/" : "./"
    return start + parts.joined(separator: "/")
}
