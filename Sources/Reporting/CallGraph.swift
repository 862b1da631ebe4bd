import Reviewing

/// A drawing of who calls a function, callers' callers on the left.
struct CallGraph {
    let function: ReviewFunction

    private static let rowHeight = 26
    private static let columnWidth = 250
    private static let boxWidth = 206
    private static let shownCallers = 10
    private static let shownAbove = 8

    private struct Node {
        var name: String
        var column: Int
        var row: Double
        var kind: HTML
        var x: Int { column * CallGraph.columnWidth + 1 }
        var y: Double { row * Double(CallGraph.rowHeight) + 2 }
    }

    /// Nothing where nobody is known to call it.
    var svg: HTML? {
        let callers = function.callers.prefix(Self.shownCallers)
        guard !callers.isEmpty else { return nil }
        let above = topNames(callers)
        let rows = max(callers.count, above.count, 1)
        let direct = callers.enumerated().map {
            Node(name: $1.name, column: 1, row: centred($0, of: callers.count, in: rows), kind: "c")
        }
        let top = above.enumerated().map {
            Node(name: $1, column: 0, row: centred($0, of: above.count, in: rows), kind: "a")
        }
        let own = Node(name: function.name, column: 2, row: centred(0, of: 1, in: rows), kind: "f")
        var lines: HTML = direct.map { edge($0, own) }.joined()
        for (caller, node) in zip(callers, direct) {
            for other in top where caller.callers.contains(other.name) { lines += edge(other, node) }
        }
        let left = top.isEmpty ? Self.columnWidth : 0
        let width = 2 * Self.columnWidth + Self.boxWidth + 2 - left
        let height = rows * Self.rowHeight + 4
        let nodes = (top + direct + [own]).map(box).joined()
        return """
            <svg class=graph role=img aria-label="Callers of \(function.name)" viewBox="\(left) 0 \(width) \(height)" \
            width="\(width)" height="\(height)">\(lines)\(nodes)</svg>
            """
    }

    private func centred(_ index: Int, of count: Int, in rows: Int) -> Double {
        Double(index) + Double(rows - count) / 2
    }

    /// Those that call most of the callers first; then in the callers' order, so that lines cross little.
    private func topNames(_ callers: ArraySlice<Caller>) -> [String] {
        var names: [String] = []
        let own = Set(callers.map(\.name) + [function.name])
        for caller in callers {
            for name in caller.callers.prefix(3) where !names.contains(name) && !own.contains(name) {
                names.append(name)
            }
        }
        return Array(names.prefix(Self.shownAbove))
    }

    private func edge(_ from: Node, _ to: Node) -> HTML {
        let (x1, x2) = (from.x + Self.boxWidth, to.x)
        let (y1, y2) = (Int(from.y) + 10, Int(to.y) + 10)
        let bend = (x2 - x1) / 2
        return "<path d=\"M\(x1) \(y1)C\(x1 + bend) \(y1) \(x2 - bend) \(y2) \(x2) \(y2)\"/>"
    }

    private func box(_ node: Node) -> HTML {
        let full = readable(node.name)
        let name = full.count > 27 ? String(full.prefix(26)) + "…" : full
        return """
            <g class=\(node.kind)><title>\(node.name)</title><rect x="\(node.x)" y="\(Int(node.y))" \
            width="\(Self.boxWidth)" height="20" rx="4"/><text x="\(node.x + 8)" y="\(Int(node.y) + 14)">\(name)</text></g>
            """
    }
}
