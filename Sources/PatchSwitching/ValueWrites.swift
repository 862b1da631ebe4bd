import Diagnostics
import ElfFormat
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage

/// A value that a switch writes, if memory holds what is expected.
struct ValueWrite: Sendable, Hashable {
    var address: UInt64
    var expected: [UInt8]
    var bytes: [UInt8]
    /// An earlier switch has written it: finding the new bytes, they are the patch's own.
    var isOwn: Bool

    var range: RemoteRange { RemoteRange(start: RemoteAddress(address), count: UInt64(bytes.count)) }
}

extension RegisteredPatch {
    /// What an activation writes: what an unfinished one has written already counts as written when `isRecovery`.
    func valuesToWrite(isRecovery: Bool, present: (RegisteredModule) -> Bool) -> [ValueWrite] {
        modules.filter(present).flatMap { $0.values ?? [] }.compactMap { value in
            // A recovery goes on with what was begun, and nothing else.
            if isRecovery, value.outcome != .intended, value.outcome != .written { return nil }
            return ValueWrite(
                address: value.address, expected: bytesOfHex(value.original) ?? [], bytes: bytesOfHex(value.new) ?? [],
                isOwn: isRecovery || value.outcome == .written)
        }
    }

    /// What a deactivation puts back: only what the patch itself has written.
    func valuesToPutBack(present: (RegisteredModule) -> Bool) -> [ValueWrite] {
        modules.filter(present).flatMap { $0.values ?? [] }.filter { $0.outcome == .written }.map { value in
            ValueWrite(
                address: value.address, expected: bytesOfHex(value.new) ?? [], bytes: bytesOfHex(value.original) ?? [],
                isOwn: true)
        }
    }
}

extension [ValueWrite] {
    /// Makes sure, before the stop, that every value can be read and written in it; reads each once (trap blocked-read).
    func prepare(in process: LoadedProcess) throws {
        for value in self {
            let count = UInt64(value.bytes.count)
            guard process.view.isCovered(value.address, count, { $0.isReadable && $0.isWritable && !$0.isShared })
            else {
                throw Refusal(
                    .unsupportedProcess, subject: process.subject,
                    why: "the variable at \(hex(value.address)) is not in private writable memory any more")
            }
            _ = try process.memory.read(RemoteAddress(value.address), count: value.bytes.count)
        }
    }

    /// Compares each value with what is expected, and writes those that agree; nothing else may change them meanwhile.
    func write(_ memory: RemoteMemory) throws -> ValueOutcomes {
        if isEmpty { return [:] }
        var outcomes: ValueOutcomes = [:]
        for (value, found) in zip(self, try memory.readMany(map(\.range))) {
            if found == value.expected {
                try memory.write(value.bytes, at: RemoteAddress(value.address))
                outcomes[value.address] = .written
            } else if found == value.bytes {
                outcomes[value.address] = value.isOwn ? .written : .same
            } else {
                outcomes[value.address] = .changed
            }
        }
        return outcomes
    }
}
