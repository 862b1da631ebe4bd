/// Bytes of a page.
package let pageSize: UInt64 = 4096

/// `value` rounded up to a multiple of `alignment` (a power of two); nil on overflow.
package func roundUp(_ value: UInt64, _ alignment: UInt64) -> UInt64? {
    let (sum, overflow) = value.addingReportingOverflow(alignment &- 1)
    return overflow ? nil : sum & ~(alignment &- 1)
}

package func roundDown(_ value: UInt64, _ alignment: UInt64) -> UInt64 { value & ~(alignment &- 1) }
