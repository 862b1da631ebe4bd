import CLinuxPtrace
import Glibc

/// CLOCK_MONOTONIC.
package func monotonicNanoseconds() -> UInt64 { lp_monotonic_ns() }

package func pauseMicroseconds(_ count: UInt32) {
    var duration = timespec(tv_sec: Int(count / 1_000_000), tv_nsec: Int(count % 1_000_000) * 1000)
    nanosleep(&duration, nil)
}
