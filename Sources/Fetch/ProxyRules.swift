package import FoundationEssentials
import Glibc
import Posix

/// Which requests go through a proxy, by the variables that other programs heed as well.
///
/// Decided here and not by libcurl, since an address is judged only where the recorder connects to it itself.
package struct ProxyRules: Sendable {
    private var proxies: [String: String] = [:]
    private var exceptions: [String] = []

    /// `variable` gives the value of an environment variable.
    init(_ variable: (String) -> String?) {
        let all = variable("all_proxy") ?? variable("ALL_PROXY")
        // A web server sets `HTTP_PROXY` to what its client sends (httpoxy), so that it counts nowhere.
        proxies["http"] = variable("http_proxy") ?? all
        proxies["https"] = variable("https_proxy") ?? variable("HTTPS_PROXY") ?? all
        let list = variable("no_proxy") ?? variable("NO_PROXY") ?? ""
        exceptions = list.split { $0 == "," || $0.isWhitespace }.map { $0.lowercased() }
    }

    static func ofEnvironment() -> ProxyRules {
        ProxyRules { name in
            guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
            return unsafe String(cString: value)
        }
    }

    /// The proxy that is asked for `url`; `nil` when its own server is.
    package func proxy(for url: URL) -> String? {
        guard let proxy = proxies[url.scheme?.lowercased() ?? ""], !proxy.isEmpty else {
            return nil
        }
        let host = trimmed(url.host() ?? "")
        return exceptions.contains { excepts(host, $0) } ? nil : proxy
    }

    private func excepts(_ host: String, _ entry: String) -> Bool {
        if entry == "*" { return true }
        if let address = IPAddress(host) {
            return AddressNetwork(entry.filter { $0 != "[" && $0 != "]" })?.contains(address)
                ?? false
        }
        let name = trimmed(entry.hasPrefix(".") ? String(entry.dropFirst()) : entry)
        return !name.isEmpty && (host == name || host.hasSuffix(".\(name)"))
    }

    /// A name with a dot at its end is the same name.
    private func trimmed(_ host: String) -> String {
        let host = host.lowercased()
        return host.hasSuffix(".") ? String(host.dropLast()) : host
    }
}
