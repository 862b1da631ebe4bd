import Diagnostics
import ElfFormat
import PatchFormat
import ProcessImage

/// One mapping that a module needs: whole pages with one protection.
package struct ModuleSegment: Sendable, Hashable {
    /// Addresses in the module, page-aligned.
    package var start: UInt64
    package var size: UInt64
    /// `PF_…`
    package var flags: UInt32
    /// Bytes from `start` that the file gives; the rest is zero, as a new mapping is.
    package var fileSize: UInt64

    package init(start: UInt64, size: UInt64, flags: UInt32, fileSize: UInt64) {
        self.start = start
        self.size = size
        self.flags = flags
        self.fileSize = fileSize
    }

    /// `PROT_…` of mmap.
    package var protection: Int32 {
        (flags & PF.read != 0 ? 1 : 0) | (flags & PF.write != 0 ? 2 : 0) | (flags & PF.execute != 0 ? 4 : 0)
    }
}

/// A module as it will lie in memory, from its address 0: read from the bundle's bytes, every number checked.
package struct ModuleImage: Sendable {
    package var segments: [ModuleSegment]
    /// The memory of the module, relocated by `relocate`.
    package var memory: CheckedBytes
    package var tables: DynamicTables
    package var records: [BindingRecord]
    package var unwind: ModuleUnwind?

    /// Whether `count` bytes at `address` lie in one segment that has the flag.
    package func isInside(_ address: UInt64, _ count: UInt64, _ flag: UInt32) -> Bool {
        segments.contains {
            $0.flags & flag != 0 && address >= $0.start && count <= $0.size && address - $0.start <= $0.size - count
        }
    }
}
