import Foundation
import FoundationNetworking
import Posix
import Synchronization

/// Hands what a session reports to the exchange that waits for it; what comes after its end is dropped.
final class ExchangeDelegate: NSObject, URLSessionDataDelegate, Sendable {
    private let exchanges = Mutex<[Int: Exchange]>([:])

    func begin(_ exchange: Exchange, as task: Int) {
        exchanges.withLock { $0[task] = exchange }
    }

    func end(_ task: Int) {
        exchanges.withLock { $0[task] = nil }
    }

    func urlSession(
        _ session: URLSession,
        task: URLSessionTask,
        willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest,
        completionHandler: @escaping (URLRequest?) -> Void
    ) {
        // The session resolves a relative `Location` wrongly, so that is done here. It also ends the process, before it
        // calls this, when the `Location` is `//[v6]/…` or `//a%2Fb/…`: FoundationNetworking 6.3, `redirectRequest`.
        let location = response.value(forHTTPHeaderField: "Location") ?? ""
        exchange(of: task)?.redirect(to: location) { next in
            var followed = request
            followed.url = next
            completionHandler(followed)
        }
    }

    func urlSession(
        _ session: URLSession,
        dataTask: URLSessionDataTask,
        didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        let answer = response as? HTTPURLResponse
        exchange(of: dataTask)?.update {
            $0.head(status: answer?.statusCode ?? 0, length: answer?.announcedBytes)
        }
        completionHandler(.allow)
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        exchange(of: dataTask)?.update { $0.body(data) }
    }

    func urlSession(
        _ session: URLSession,
        task: URLSessionTask,
        didCompleteWithError error: (any Error)?
    ) {
        let status = (task.response as? HTTPURLResponse)?.statusCode ?? 0
        exchange(of: task)?.complete(error.map(FetchError.init), status: status)
    }

    private func exchange(of task: URLSessionTask) -> Exchange? {
        exchanges.withLock { $0[task.taskIdentifier] }
    }
}

extension HTTPURLResponse {
    /// `Content-Length`, unless the session has decoded the body since.
    fileprivate var announcedBytes: Int? {
        let coding = value(forHTTPHeaderField: "Content-Encoding")?.lowercased() ?? "identity"
        guard coding == "identity", expectedContentLength >= 0 else { return nil }
        return Int(expectedContentLength)
    }
}

extension FetchError {
    /// What the session reports; its text can name the host, and nothing else of the address.
    fileprivate init(_ error: any Error) {
        let code = (error as? URLError)?.code
        switch code {
        case .timedOut: self = .timedOut
        case .cancelled: self = .cancelled
        default: self = .network(withoutQueries(error.localizedDescription))
        }
    }
}
