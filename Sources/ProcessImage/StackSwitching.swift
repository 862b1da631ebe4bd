import Diagnostics
import ElfFormat
import ProcessControl

/// Whether a program can leave a call suspended on a stack that is not a thread's own (trap foreign-stacks).
package struct StackSwitching: Sendable {
    package enum Ability: Sendable {
        case none
        /// Only OpenSSL's asynchronous jobs could, in programs that ask for them: a suspended one lies in the heap.
        case openSSL
        case any
    }
    /// Whether it imports, or carries, a function that switches stacks.
    package var ability: Ability
    /// Go and its like move stacks about.
    var movesStacks: Bool

    private static let imported: Set<String> = ["swapcontext", "makecontext", "setcontext"]
    private static let carried: Set<String> = [
        "jump_fcontext", "make_fcontext", "ontop_fcontext", "coro_transfer", "co_switch", "swap_context",
    ]

    package static func find(in view: ProcessView, _ linkMap: LinkMap) -> StackSwitching {
        var result = StackSwitching(ability: .none, movesStacks: false)
        for object in linkMap.objects {
            result.movesStacks = result.movesStacks || holdsGo(object, view)
            guard result.ability != .any, let tables = try? view.tables(of: object),
                switches(tables) || SwitchCode.isHeld(by: object, view)
            else { continue }
            let isOpenSSL = (try? tables.lookup("ASYNC_start_job", version: nil)) ?? nil != nil
            result.ability = isOpenSSL ? .openSSL : .any
        }
        return result
    }

    private static func switches(_ tables: DynamicTables) -> Bool {
        for name in imported {
            // Every C library defines them: only a use counts.
            if tables.symbols.contains(where: { !$0.isDefined && (try? tables.name(of: $0)) == name }) { return true }
        }
        return carried.contains { (try? tables.lookup($0, version: nil)) ?? nil != nil }
    }

    /// The marker that Go's linker puts at the start of the data or read-only segment.
    private static func holdsGo(_ object: LoadedObject, _ view: ProcessView) -> Bool {
        let marker = Array("\u{20}Go buildinf:".utf8.dropFirst())
        for load in object.headers where load.type == PT.load && !load.isExecutable && load.offset > 0 {
            let place = RemoteAddress(object.bias &+ load.address)
            guard let head = try? view.memory.readPrefix(place, count: Int(min(load.fileSize, 1 << 16))) else {
                continue
            }
            for start in stride(from: 0, to: max(0, head.count - 16), by: 16) where head[start] == 0xff {
                if Array(head[(start + 1)..<(start + 1 + marker.count)]) == marker { return true }
            }
        }
        return false
    }

    package func refuseMovingStacks(_ subject: String) throws {
        guard movesStacks else { return }
        throw Refusal(
            .foreignStacks, subject: subject, why: "it holds a Go runtime, which keeps calls on stacks that it moves",
            remedy: "restart the process with the fixed program")
    }
}
