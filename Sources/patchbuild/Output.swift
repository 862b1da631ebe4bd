import ArgumentParser
import Diagnostics
import FoundationEssentials

/// Runs a command's work; what it throws is printed as text, or with `--json` as an object on standard output.
func reporting(json: Bool, _ work: () async throws -> Void) async throws {
    do { try await work() } catch let error as UsageError { throw error } catch let code as ExitCode {
        throw code
    } catch let reported as Reported {
        throw reported
    } catch {
        if json, let refusals = refusals(in: error) {
            print(try encoded(["refused": refusals]))
        }
        if let refusals = refusals(in: error), refusals.count > 1 {
            printError(refusals.map(\.description).joined(separator: "\n"))
            printError("patchbuild: refused by \(refusals.count) findings; nothing was written")
        } else {
            printError("\(error)")
        }
        if let hint = Refusals.hint(refusals(in: error) ?? [], tool: "patchbuild") { printError("  \(hint)") }
        throw Reported(status: ExitStatus(for: error))
    }
}

private func refusals(in error: any Error) -> [Refusal]? {
    switch error {
    case let error as Refusal: [error]
    case let error as Refusals: error.refusals
    default: nil
    }
}

/// JSON with sorted keys.
func encoded(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
