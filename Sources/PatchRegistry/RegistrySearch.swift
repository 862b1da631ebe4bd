import Diagnostics
import ElfFormat
import JSONCoding
import PatchFormat
import ProcessControl
import ProcessImage

/// Finds the registry in a process's memory, where the program may have put anything: a copy of the magic in a buffer
/// must stop nobody from patching and reverting (trap forged-magic).
extension Registry {
    /// That are looked at in a process (trap sparse-mappings).
    package static let mostPlaces = 1 << 16
    private static let headerSize: UInt64 = 128

    /// What stands at a place that begins with the magic.
    private enum Candidate {
        /// Header, digest and state are in order.
        case complete(Registry)
        /// The header is in order and the state is not: a registry that was spoilt, or a forgery.
        case spoilt(Refusal)
        /// The program's own data.
        case none
    }

    /// The registry of the process, or nil when nothing was ever loaded.
    /// - Throws: `Refusal` hostile-registry when it is not in order (trap hostile-registry).
    package static func find(in view: ProcessView) throws -> Registry? {
        var complete: [Registry] = []
        var spoilt: [Refusal] = []
        for place in places(in: view) {
            switch try candidate(view, at: place) {
            case .complete(let registry): complete.append(registry)
            case .spoilt(let refusal): spoilt.append(refusal)
            case .none: continue
            }
        }
        guard complete.count < 2 else {
            let addresses = complete.map { hex($0.address) }.joined(separator: ", ")
            throw refusal(view.pid, "its memory holds \(complete.count) registries: \(addresses)")
        }
        if let registry = complete.first { return registry }
        // A module's code lies in memory of this kind: without any, nothing can be loaded that a record could be lost of.
        let mayHoldModules = view.map.mappings.contains { $0.kind == .anonymous && $0.isExecutable && !$0.isShared }
        if let refusal = spoilt.first, mayHoldModules { throw refusal }
        return nil
    }

    /// Whether a mapping has the form of a registry's alone.
    package static func mayLie(in mapping: MemoryMapping) -> Bool {
        mapping.kind == .anonymous && mapping.isReadable && !mapping.isWritable && !mapping.isExecutable
            && !mapping.isShared && mapping.range.count % smallestSize == sizeMark
            && mapping.start.rawValue % smallestSize == 0
    }

    /// Whether a registry may lie in one of the mappings: the others need not be read.
    package static func mayBe(in map: MemoryMap) -> Bool { map.mappings.contains(where: mayHold) }

    /// Whether there is room for a registry, which the process can only read. What it can write is its own, however large
    /// (trap sparse-mappings).
    ///
    /// By fixed layout and magic: names of mappings are not everywhere (trap anon-name).
    private static func mayHold(_ mapping: MemoryMapping) -> Bool {
        guard mapping.kind == .anonymous, mapping.isReadable, !mapping.isWritable, !mapping.isExecutable,
            !mapping.isShared, let first = roundUp(mapping.start.rawValue, smallestSize)
        else { return false }
        return first < mapping.end.rawValue && mapping.end.rawValue - first >= smallestSize
    }

    /// A mapping of exactly the form that a registry gets, which was never finished: there is no magic (trap half-made).
    package static func abandonedPlace(of size: UInt64, in view: ProcessView) -> (address: UInt64, size: UInt64)? {
        let found = view.map.mappings.first { mapping in
            mayLie(in: mapping) && mapping.range.count >= size && mapping.range.count <= largestSize + sizeMark
                && isUnfinished(mapping, view)
        }
        return found.map { ($0.start.rawValue, $0.range.count) }
    }

    /// Whether the first page holds nothing, or what `create` writes before the magic.
    private static func isUnfinished(_ mapping: MemoryMapping, _ view: ProcessView) -> Bool {
        guard let page = try? view.memory.read(mapping.start, count: Int(pageSize)) else { return false }
        let size = mapping.range.count
        let header = [layoutVersion, size, slotSize(size)].flatMap(littleEndian)
        let rest = page[32..<(32 + header.count)]
        return page[..<32].allSatisfy { $0 == 0 } && page[(32 + header.count)...].allSatisfy { $0 == 0 }
            && (rest.allSatisfy { $0 == 0 } || Array(rest) == header)
    }

    /// A place that begins with the magic.
    private struct Place {
        var address: UInt64
        var mapping: MemoryMapping
        var header: CheckedBytes
    }

    /// Where the magic stands, in mappings of the registry's kind.
    private static func places(in view: ProcessView) -> [Place] {
        let pages = PageMap(of: view.memory)
        defer { pages.close() }
        return possiblePlaces(in: view.map).compactMap { address, mapping in
            guard pages.isPresent(address), let header = try? view.read(address, headerSize),
                header.bytes.starts(with: magic)
            else { return nil }
            return Place(address: address, mapping: mapping, header: header)
        }
    }

    /// Where a registry may begin.
    ///
    /// Neighbouring anonymous mappings are merged by the kernel: the magic may stand at any page of one. A registry is
    /// created at a multiple of its smallest size, so only those places are looked at, in small mappings first. However
    /// much a process maps, the number of places is bounded: none has 64 GiB that it can only read.
    package static func possiblePlaces(in map: MemoryMap) -> [(address: UInt64, mapping: MemoryMapping)] {
        var found: [(address: UInt64, mapping: MemoryMapping)] = []
        for mapping in map.mappings.filter(mayHold).sorted(by: { $0.range.count < $1.range.count }) {
            guard var place = roundUp(mapping.start.rawValue, smallestSize) else { continue }
            while place < mapping.end.rawValue {
                if found.count == mostPlaces { return found }
                found.append((place, mapping))
                place += smallestSize
            }
        }
        return found
    }

    private static func candidate(_ view: ProcessView, at place: Place) throws -> Candidate {
        let (address, header) = (place.address, place.header)
        let (version, size, slot) = (try header.u64(32), try header.u64(40), try header.u64(48))
        guard version == layoutVersion, size >= smallestSize, size <= largestSize + sizeMark,
            size % pageSize == 0, slot == slotSize(size), size <= place.mapping.end.rawValue - address
        else { return .none }
        let selector = try header.u64(selectorOffset)
        do {
            let state = try readState(view, slotAddress(address, size, selector), limit: slot)
            guard state.generation == selector >> 1 else {
                throw refusal(view.pid, "its registry selects a state of another generation")
            }
            return .complete(
                Registry(memory: view.memory, address: address, size: size, selector: selector, state: state))
        } catch let refusal as Refusal {
            return .spoilt(refusal)
        }
    }

    private static func readState(_ view: ProcessView, _ address: UInt64, limit: UInt64) throws -> RegistryState {
        let head = try view.read(address, slotHeader)
        let length = try head.u64(0)
        guard length <= limit - slotHeader else {
            throw refusal(view.pid, "its registry's state is longer than its place")
        }
        let bytes = try view.read(address + slotHeader, length).bytes
        guard Digest.sha256(bytes) == Digest.hexadecimal(try head.slice(8, 32)) else {
            throw refusal(view.pid, "its registry's state does not have the digest beside it")
        }
        guard let state = try? decodeJSON(RegistryState.self, from: bytes),
            (1...RegistryState.currentFormat).contains(state.format)
        else { throw refusal(view.pid, "its registry's state can't be decoded") }
        return state
    }
}
