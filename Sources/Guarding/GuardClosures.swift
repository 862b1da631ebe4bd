import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

extension DebugFacts {
    /// What a lambda has captured has the layout that the original gave it, and lies wherever lambdas are kept. Code that works
    /// on one may change only where lambdas of its function have captured the same before and after.
    func closureFindings() -> [Finding] {
        pairs.flatMap { pair -> [Finding] in
            let (unit, new) = (pair.unit, pair.unit.new)
            let changed = unit.changes.functions.keys.sorted().filter { number in
                unit.correlation.originalOf[number] != nil && new.entities[number].names.contains(where: namesLambda)
            }
            return changed.compactMap { number in
                guard let why = pair.differenceOfClosures(in: new.entities[number].names) else { return nil }
                return Finding(
                    subject: new.entities[number].name,
                    why: "it works on a lambda, \(why); lambdas of the original may exist in the process",
                    remedy: "restart, or keep what the lambda captures")
            }
        }
    }
}

extension DebugFacts.Pair {
    /// Lambdas have no names that debug information and symbols share. The compiler counts those of a function in the order
    /// in which they stand, so that all lambdas of the functions that a symbol names have to be the same ones.
    fileprivate func differenceOfClosures(in names: [String]) -> String? {
        guard let original, let new else { return "and there is no debug information to compare its captures by" }
        func groups(_ unit: DebugUnit) -> [String: [DebugClosure]] {
            Dictionary(
                grouping: unit.closures.filter { closure in names.contains { closure.mayBe(in: $0) } }, by: \.scope)
        }
        let (before, after) = (groups(original), groups(new))
        guard !before.isEmpty else { return "whose captures debug information does not tell" }
        for (scope, old) in before.sorted(by: { $0.key < $1.key }) {
            let (old, fresh) = (old.inOrder, after[scope, default: []].inOrder)
            guard old.count == fresh.count else { return "and lambdas come or go in \(scope)" }
            for (one, other) in zip(old, fresh) where one.layout != other.layout || one.call != other.call {
                return "whose captures or parameters may have changed (\(scope))"
            }
        }
        return after.keys.contains { before[$0] == nil } ? "and lambdas come or go in the unit" : nil
    }
}

extension [DebugClosure] {
    /// Without the place, and each once: a function may be described twice.
    fileprivate var inOrder: [DebugClosure] {
        var seen: Set<DebugClosure> = []
        return sorted { ($0.line, $0.column) < ($1.line, $1.column) }.filter { seen.insert($0).inserted }
    }
}

extension DebugClosure {
    /// Whether a mangled name may mean it: the name of its function is part of it. A function without a name of its own (an
    /// operator, another lambda) and what stands outside of functions may be meant by any.
    fileprivate func mayBe(in mangled: String) -> Bool {
        guard let end = scope.firstRange(of: "()::") else { return true }
        let plain = scope[..<end.lowerBound].prefix { $0 != "<" }
        var name = plain.split(separator: ":").last.map(String.init) ?? ""
        if name.hasPrefix("~") { name.removeFirst() }
        guard !name.isEmpty, !name.hasPrefix("operator"), !name.hasPrefix("(") else { return true }
        return mangled.contains("\(name.utf8.count)\(name)")
    }
}
