import CodeModel
import ObjectFiles

/// Handlers and cleanups belong to a function as its code does, though its bytes don't show them: which types a handler
/// catches is told by tables alone.
extension Comparer {
    mutating func differenceOfFrames(_ a: EntityIndex, _ b: EntityIndex) -> String? {
        let (x, y) = (original.entities[a], new.entities[b])
        let left = original.frames.describing(section: x.section, from: x.offset, to: x.end)
        let right = new.frames.describing(section: y.section, from: y.offset, to: y.end)
        guard left.count == right.count else { return "has other unwind data" }
        for (p, q) in zip(left, right) {
            if let reason = difference(original.frames.fdes[p], new.frames.fdes[q]) { return reason }
        }
        return nil
    }

    private mutating func difference(
        _ p: ObjectFrames.FDE, _ q: ObjectFrames.FDE
    ) -> String? {
        let (left, right) = (original.frames, new.frames)
        let (x, y) = (original.file.sections[left.section], new.file.sections[right.section])
        // Behind the length, the distance to the CIE and the relocated address.
        if withoutPadding(x.data[p.range].dropFirst(12)) != withoutPadding(y.data[q.range].dropFirst(12)) {
            return "has other unwind data"
        }
        let (shared, other) = (left.cies[p.cie], right.cies[q.cie])
        let isSame =
            withoutPadding(x.data[shared.record.range].dropFirst(8))
            == withoutPadding(y.data[other.record.range].dropFirst(8))
        if !isSame || shared.relocations.count != other.relocations.count {
            return "has other unwind data"
        }
        for (m, n) in zip(shared.relocations, other.relocations) {
            if let reason = difference(x.relocations[m], in: x.index, y.relocations[n], in: y.index) { return reason }
        }
        guard let lsda = p.lsda, let fresh = q.lsda else {
            return (p.lsda == nil) == (q.lsda == nil) ? nil : "has handlers or cleanups on one side only"
        }
        let (end, freshEnd) = (left.end(of: lsda, in: original.file), right.end(of: fresh, in: new.file))
        // Handlers' types are aligned, so that a table may be followed by padding.
        let reason = difference(
            Range(section: lsda.section, start: lsda.offset, end: end),
            Range(section: fresh.section, start: fresh.offset, end: freshEnd))
        return reason.map { "handlers or cleanups: \($0)" }
    }

    /// Records are padded by what does nothing, as their place asks for it.
    private func withoutPadding(_ record: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        record[..<(record.lastIndex { $0 != 0 }.map { $0 + 1 } ?? record.startIndex)]
    }
}
