import Glibc

/// Times as seconds since 1970, UTC.
public enum Times {
    public static func now() -> Int64 { Int64(time(nil)) }

    /// `2026-01-31T12:00:00Z`, the one form that manifests have.
    public static func seconds(rfc3339 text: String) -> Int64? {
        let bytes = Array(text.utf8)
        let pattern = Array("0000-00-00T00:00:00Z".utf8)
        guard bytes.count == pattern.count, zip(bytes, pattern).allSatisfy({ $1 == 0x30 || $0 == $1 }) else {
            return nil
        }
        return seconds(digits: bytes.enumerated().filter { pattern[$0.offset] == 0x30 }.map(\.element), isLocal: false)
    }

    /// `20260131`, `202601311200` or `20260131120000`, with `Z` in UTC, without it in the machine's own time, as in
    /// allowed_signers.
    static func seconds(compact text: String) -> Int64? {
        let isLocal = !text.hasSuffix("Z")
        let digits = Array(text.utf8.dropLast(isLocal ? 0 : 1))
        guard [8, 12, 14].contains(digits.count) else { return nil }
        return seconds(digits: digits + [UInt8](repeating: 0x30, count: 14 - digits.count), isLocal: isLocal)
    }

    /// `2026-01-31T12:00:00Z`.
    public static func rfc3339(_ seconds: Int64) -> String {
        var (time, parts) = (time_t(seconds), tm())
        gmtime_r(&time, &parts)
        func digits(_ value: Int32, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        return "\(digits(parts.tm_year &+ 1900, 4))-\(digits(parts.tm_mon &+ 1, 2))-\(digits(parts.tm_mday, 2))T"
            + "\(digits(parts.tm_hour, 2)):\(digits(parts.tm_min, 2)):\(digits(parts.tm_sec, 2))Z"
    }

    /// Of 14 digits; nil for what is no date (30 February) or no time.
    private static func seconds(digits: [UInt8], isLocal: Bool) -> Int64? {
        guard digits.count == 14, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        func number(_ range: Range<Int>) -> Int32 { digits[range].reduce(0) { $0 * 10 + Int32($1 - 0x30) } }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (number(0..<4) - 1900, number(4..<6) - 1, number(6..<8))
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (number(8..<10), number(10..<12), number(12..<14))
        guard parts.tm_year >= 70, (0...11).contains(parts.tm_mon), (1...31).contains(parts.tm_mday),
            parts.tm_hour < 24, parts.tm_min < 60, parts.tm_sec < 60
        else { return nil }
        let (month, day) = (parts.tm_mon, parts.tm_mday)
        // Daylight saving time is for the system to know.
        parts.tm_isdst = isLocal ? -1 : 0
        let seconds = isLocal ? mktime(&parts) : timegm(&parts)
        return parts.tm_mon == month && parts.tm_mday == day ? Int64(seconds) : nil
    }
}
