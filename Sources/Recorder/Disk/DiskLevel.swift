/// How much room the recordings have; the raw value is the label of the metric.
enum DiskLevel: String, CaseIterable, Sendable {
    case ample
    /// Somebody should make room.
    case low
    /// New recordings are refused.
    case full
    /// No file can be created, however much room there is: a mount is read-only, or a permission is missing. New recordings are refused.
    case unwritable

    /// Whether a new recording may start.
    var allowsRecordings: Bool { self == .ample || self == .low }

    /// The level with `free` bytes left; it takes more room to leave a level than to enter it, so that it does not flap.
    func next(free: UInt64, _ limits: DiskLimits) -> DiskLevel {
        if free < limits.refuseBelow { return .full }
        if self == .full, free < limits.acceptFrom { return .full }
        if free < limits.warnBelow { return .low }
        if self == .low || self == .full, free < limits.calmFrom { return .low }
        return .ample
    }
}

/// Where one level of the disk ends and the next begins, in bytes.
struct DiskLimits: Equatable, Sendable {
    let warnBelow: UInt64
    let refuseBelow: UInt64
    /// Kept back in a file, so that the end of a full disk finds room.
    let reserve: UInt64

    /// From here on recordings begin again; the reserve's own room does not count.
    var acceptFrom: UInt64 { refuseBelow + max(refuseBelow / 4, reserve) }

    var calmFrom: UInt64 { max(warnBelow + warnBelow / 10, acceptFrom) }
}

/// The limits as they are configured; what is not, depends on the size of the disk.
struct DiskSettings: Equatable, Sendable {
    var warnBelow: UInt64?
    var refuseBelow: UInt64?
    var reserve: UInt64?

    static let mostWarnBelow: UInt64 = 5 << 30
    static let mostRefuseBelow: UInt64 = 1 << 30
    static let mostReserve: UInt64 = 32 << 20

    /// Of a small disk a share: 10 %, 2 % and 0.2 %.
    func limits(size: UInt64) -> DiskLimits {
        let refuseBelow = refuseBelow ?? min(Self.mostRefuseBelow, size / 50)
        return DiskLimits(
            warnBelow: max(warnBelow ?? min(Self.mostWarnBelow, size / 10), refuseBelow),
            refuseBelow: refuseBelow,
            reserve: reserve ?? min(Self.mostReserve, size / 500)
        )
    }
}
