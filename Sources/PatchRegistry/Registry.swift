import Diagnostics
import ElfFormat
import JSONCoding
import PatchFormat
import ProcessControl
import ProcessImage

/// The record of what is applied, in a private anonymous mapping of the process: fork inherits it, exec drops it. The
/// process itself can only read it.
///
///     0     magic, 32 bytes
///     32    u64 layout version, u64 size of the mapping, u64 size of a slot
///     64    u64 selector: generation × 2 + number of the slot that holds the state
///     4096  slot 0, then slot 1: u64 length, 32 bytes SHA-256, JSON of `RegistryState`
///
/// A new state is written to the slot that is not selected; then one aligned 8-byte store selects it. Killed at any
/// instant, the writer leaves the old state or the new one (Documentation/architecture.md,
/// Dying is allowed).
package struct Registry: Sendable {
    package static let magic = Array("\u{7f}livepatch registry of a process".utf8)
    static let layoutVersion: UInt64 = 1
    static let selectorOffset: UInt64 = 64
    package static let smallestSize: UInt64 = 1 << 20
    static let largestSize: UInt64 = 64 << 20
    static let slotHeader: UInt64 = 40
    /// What the size of a registry's mapping has beyond whole mebibytes: by it, a place that was mapped and never written to is
    /// known again.
    static let sizeMark: UInt64 = 13 * pageSize

    package let memory: RemoteMemory
    package let address: UInt64
    package let size: UInt64
    /// As read from, or last written to, the process.
    package private(set) var selector: UInt64
    package private(set) var state: RegistryState

    static func slotSize(_ size: UInt64) -> UInt64 { (size - pageSize) / 2 & ~63 }

    static func slotAddress(_ address: UInt64, _ size: UInt64, _ selector: UInt64) -> UInt64 {
        address + pageSize + (selector & 1) * slotSize(size)
    }

    /// Bytes that a mapping must have to hold a state of `length` bytes with room to grow.
    package static func size(forState length: Int) -> UInt64 {
        let wanted = UInt64(length).multipliedReportingOverflow(by: 8).partialValue + pageSize
        return min(max(smallestSize, roundUp(wanted, smallestSize) ?? largestSize), largestSize) + sizeMark
    }

    package static func refusal(_ pid: Int32, _ why: String) -> Refusal {
        Refusal(.hostileMemory, subject: "pid \(pid)", why: why)
    }

    // MARK: Writing

    /// Fills a new mapping of `size` zero bytes at `address`; the magic goes last, so that a half-made one is not found.
    package static func create(memory: RemoteMemory, at address: UInt64, size: UInt64) throws -> Registry {
        let registry = Registry(memory: memory, address: address, size: size, selector: 0, state: RegistryState())
        try registry.writeSlot(encode(RegistryState()), selector: 0)
        let header = [layoutVersion, size, slotSize(size)].flatMap(littleEndian)
        try memory.write(header, at: RemoteAddress(address + 32))
        try memory.write(magic, at: RemoteAddress(address))
        return registry
    }

    /// Makes `change` to the state and stores it.
    /// - Throws: `Busy` when another livepatch has stored a state since this one was read.
    package mutating func update(_ change: (inout RegistryState) throws -> Void) throws {
        let current = try memory.read(RemoteAddress(address + Registry.selectorOffset), as: UInt64.self)
        guard current == selector else {
            throw Busy("pid \(memory.pid): another livepatch has just changed the process; try again")
        }
        var next = state
        try change(&next)
        next.generation = state.generation &+ 1
        next.format = RegistryState.currentFormat
        let bytes = try Registry.makeRoom(in: &next, limit: Registry.slotSize(size) - Registry.slotHeader)
        let nextSelector = next.generation << 1 | (selector & 1 ^ 1)
        try writeSlot(bytes, selector: nextSelector)
        try memory.write(littleEndian(nextSelector), at: RemoteAddress(address + Registry.selectorOffset))
        selector = nextSelector
        state = next
    }

    /// Forgets modules that stayed mapped, the oldest first, as far as it takes: they stay, and are not used again.
    /// - Returns: the state as it is written.
    private static func makeRoom(in state: inout RegistryState, limit: UInt64) throws -> [UInt8] {
        while true {
            let bytes = try encode(state)
            guard UInt64(bytes.count) > limit, let oldest = state.patches.firstIndex(where: { $0.state == .resident })
            else { return bytes }
            state.patches.remove(at: oldest)
        }
    }

    private func writeSlot(_ bytes: [UInt8], selector: UInt64) throws {
        guard UInt64(bytes.count) <= Registry.slotSize(size) - Registry.slotHeader else {
            throw Refusal(
                .unsupportedProcess, subject: "pid \(memory.pid)", why: "the registry has no room for another patch",
                remedy: "restart the process with the fixed program")
        }
        let digest = bytesOfHex(Digest.sha256(bytes)) ?? []
        let slot = RemoteAddress(Registry.slotAddress(address, size, selector))
        try memory.write(littleEndian(UInt64(bytes.count)) + digest + bytes, at: slot)
    }

    package static func encode(_ state: RegistryState) throws -> [UInt8] { try encodeJSON(state) }
}
