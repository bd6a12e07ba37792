import CCurl
import FoundationEssentials
import Posix

/// One request on its way, from address to address.
struct Transfer {
    /// How long a body that nobody wants may take, before the connection is given up instead.
    private static let wasteTime = Duration.milliseconds(500)

    let id: Int
    let easy: EasyHandle
    private let request: FetchRequest
    private let room: MemoryReservation?
    private let deadline: BootTime
    private var way: Redirection
    let role: AddressPolicy.Role
    private let proxies: ProxyRules
    private let exceptions: AddressExceptions
    /// Who must be allowed to name the address that is next.
    private var namer: ServerPlace?
    /// Where the answers so far came from.
    private(set) var places: AnsweringPlaces?
    /// When it is given up; sooner once it is settled.
    private(set) var end: BootTime

    init(
        id: Int,
        _ request: FetchRequest,
        in room: MemoryReservation?,
        over easy: EasyHandle,
        as role: AddressPolicy.Role,
        _ policy: AddressPolicy,
        _ proxies: ProxyRules
    ) {
        (self.id, self.request, self.room, self.easy) = (id, request, room, easy)
        (self.role, self.proxies, exceptions) = (role, proxies, policy.exceptions)
        namer = policy.namer(for: role)
        deadline = BootTime.now().advanced(by: request.limits.timeout)
        way = Redirection(from: request.url, atMost: request.limits.redirects)
        end = deadline
    }

    /// Aims the handle at the address that is next.
    func begin() throws(FetchError) {
        let exchange = Exchange(limit: request.limits.bytes, range: request.range, in: room)
        try easy.aim(at: way.url, request, timeout: deadline.since(.now()), into: exchange)
        let proxy = proxies.proxy(for: way.url)
        let host = way.url.host() ?? ""
        let check = ConnectionCheck(
            of: host,
            namedBy: namer,
            exceptions,
            isProxied: proxy != nil
        )
        try easy.connect(through: proxy, check)
    }

    /// Looks whether the head has told all there is to know.
    mutating func settle(at now: BootTime) {
        guard end == deadline, easy.exchange.isSettled else { return }
        end = min(deadline, now.advanced(by: Self.wasteTime))
    }

    /// Takes the answer to the latest request; `nil` when it leads to another address, where `begin` goes.
    ///
    /// The head's word counts before the end's: of an error page it does not matter whether it is whole.
    mutating func take(_ result: CURLcode) throws(FetchError) -> FetchedBody? {
        let exchange = easy.exchange
        let connection = easy.connection
        if exchange.status == nil, result != CURLE_OK, let refusal = connection.refusal {
            throw .refusedAddress(refusal)
        }
        if exchange.status != nil, let server = connection.place {
            if places?.add(server) == nil { places = AnsweringPlaces(server) }
            namer = server.narrowed(to: namer)
        }
        if let refusal = exchange.refusal { throw refusal }
        if exchange.isSettled, let status = exchange.status {
            guard Redirection.isMeant(by: status), let location = easy.location else {
                throw .http(status: status)
            }
            try follow(location)
            return nil
        }
        guard result == CURLE_OK || exchange.isComplete else { throw failure(exchange, result) }
        try checkRange(exchange)
        return FetchedBody(bytes: exchange.body, url: way.url)
    }

    private mutating func follow(_ location: String) throws(FetchError) {
        end = deadline
        do throws(RedirectError) {
            try way.follow(location)
        } catch {
            throw .refusedRedirect(error)
        }
    }

    private func checkRange(_ exchange: Exchange) throws(FetchError) {
        guard let range = request.range else { return }
        if exchange.status == 206, easy.firstOfContentRange != range.offset {
            throw .network("the answer is not the range that was asked for")
        }
        guard exchange.body.count == range.count else {
            throw .truncated(received: exchange.body.count, announced: range.count)
        }
    }

    private func failure(_ exchange: Exchange, _ result: CURLcode) -> FetchError {
        if result == CURLE_OPERATION_TIMEDOUT { return .timedOut }
        let received = exchange.body.count
        if exchange.status != nil, let announced = easy.announcedBytes, received < announced {
            return .truncated(received: received, announced: announced)
        }
        return .network(easy.text(of: result))
    }
}
