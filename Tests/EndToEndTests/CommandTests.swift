import TestSupport
import Testing

extension EndToEnd {
    /// Exit statuses and the JSON of every command: a contract with scripts.
    @Suite(.serialized) struct CommandTests {
        @Test(arguments: [
            ["patchbuild", "frobnicate"], ["patchbuild", "build"], ["patchbuild", "show"], ["livepatch", "frobnicate"],
            ["livepatch", "apply"], ["livepatch", "apply", "/nonexistent.lpatch"],
        ])
        func badUsage(command: [String]) throws {
            let output = try run(toolPath(command[0]), Array(command.dropFirst()))
            #expect(output.status == 2, "\(output)")
            #expect(!output.stderr.isEmpty)
        }

        @Test func help() throws {
            for tool in ["patchbuild", "livepatch"] {
                let output = try run(toolPath(tool), ["--help"])
                #expect(output.status == 0 && output.stdout.contains("USAGE"), "\(output)")
            }
        }

        @Test func showAndReproducibleBundle() throws {
            let fixture = try CallServer.built()
            let shown = try patchbuild("show", fixture.bundle, "--json")
            try #require(shown.status == 0, "\(shown)")
            let target = try JSON(shown.stdout)["targets"][0]
            #expect(target["file"].text == "callserver")
            #expect(target["buildID"].text?.count == 40)
            let functions = target["functions"].elements
            for function in functions {
                for member in ["name", "object", "change", "reason"] {
                    #expect(function[member].text != nil, "\(function)")
                }
            }
            let changes = Dictionary(
                functions.map { ($0["name"].text ?? "", $0["change"].text ?? "") }, uniquingKeysWith: { old, _ in old })
            #expect(changes["normalise"] == "changed")
            #expect(changes["handle_setup"] == "changed")
            #expect(changes["reject_setup"] == "new")
            #expect(changes["find_trunk"] == nil)
            #expect(target["bindings"] != .null && target["data"] != .null)
            #expect(try run("tar", ["tf", fixture.bundle]).stdout.contains("manifest.json"))

            let again = fixture.directory + "/again.lpatch"
            try runOrThrow(
                toolPath("patchbuild"),
                [
                    "build", "--source", fixture.directory, "--compile-commands",
                    fixture.directory + "/compile_commands.json", "--diff", fixture.directory + "/fix.diff", "--target",
                    fixture.program, "--id", "number-too-long", "-o", again,
                ])
            #expect(readBytes(again) == readBytes(fixture.bundle), "the same inputs give the same bytes")
        }

        @Test func objectDiff() throws {
            let flags = ["-O2", "-g", "-c", "-ffunction-sections", "-fdata-sections"]
            let source = "int a(int x) { return x + 1; }\nint b(int x) { return x * 7; }\n"
            let old = try Fixture.compile(source, flags, output: "a.o")
            let new = try Fixture.compile(source + "int c(int x) { return b(x) - 1; }\n", flags, output: "a.o")
            let output = try patchbuild("diff", old, new, "--json")
            try #require(output.status == 0, "\(output)")
            let functions = try JSON(output.stdout)["functions"].elements
            #expect(functions.map { $0["name"].text } == ["c"])
            #expect(functions.first?["change"].text == "new")
        }

        @Test func anObjectDiffSaysWhichFileIsAtFault() throws {
            let source = "int a(int x) { return x + 1; }\nint b(int x) { return x * 7; }\n"
            let split = try Fixture.compile(source, ["-c", "-ffunction-sections", "-fdata-sections"], output: "a.o")
            let whole = try Fixture.compile(source, ["-c"], output: "a.o")
            for (old, new, wrong) in [
                ("/none", "/neither", "/none"), (split, "/neither", "/neither"), (whole, split, whole),
            ] {
                let output = try patchbuild("diff", old, new, "--json")
                try expectRefusal("bad-input", output)
                #expect(try JSON(output.stdout)["refused"].elements.first?["subject"].text == wrong)
            }
            let together = try patchbuild("diff", whole, split)
            #expect(together.stderr.contains("compile both objects with -ffunction-sections -fdata-sections"))
        }

        @Test func check() throws {
            let fixture = try CallServer.built()
            let output = try patchbuild("check", fixture.program, "--function", "route_call", "--json")
            #expect(output.status == 0, "\(output)")
            #expect(output.stdout.contains("route_call") && output.stdout.contains("bare"))
            _ = try JSON(output.stdout)
        }

        /// Per process: pid, state, stopMicroseconds, threads, attempts.
        @Test func applyAndStatus() throws {
            let fixture = try CallServer.built()
            try fixture.serving(calls: 0) { server in
                let applied = try server.apply(fixture.bundle)
                try #require(applied.status == 0, "\(applied)")
                let report = try #require(processReport(try JSON(applied.stdout)), "\(applied)")
                #expect(report["pid"].number == Double(server.process.pid))
                #expect(report["state"].text == "active")
                #expect((report["stopMicroseconds"].number ?? 0) > 0)
                #expect((report["threads"].number ?? 0) == 9)
                #expect((report["attempts"].number ?? 0) >= 1)

                let status = try livepatch("status", "--pid", server.pid, "--json")
                #expect(status.status == 0 && status.stdout.contains("number-too-long"), "\(status)")
                #expect(status.stdout.contains("active"), "\(status)")
                _ = try JSON(status.stdout)
                let verified = try livepatch("verify", "number-too-long", "--pid", server.pid, "--json")
                #expect(verified.status == 0, "\(verified)")

                // By id, not by file.
                let reverted = try livepatch("revert", "number-too-long", "--pid", server.pid, "--json")
                #expect(reverted.status == 0, "\(reverted)")
                #expect(try server.answer() == .old)
            }
        }

        @Test func everyProcessOfTheProgram() throws {
            let fixture = try CallServer.built()
            try fixture.serving(calls: 0) { (first) throws in
                try fixture.serving(calls: 0) { (second) throws in
                    #expect(try livepatch("apply", fixture.bundle, "--all", "--allow-unsigned").status == 0)
                    #expect(try first.answer() == .new)
                    #expect(try second.answer() == .new)
                    #expect(try livepatch("revert", fixture.bundle, "--all").status == 0)
                    #expect(try first.answer() == .old)
                    #expect(try second.answer() == .old)
                }
            }
        }

        /// The first object in the report that is about a process.
        private func processReport(_ json: JSON) -> JSON? {
            if json["pid"] != .null { return json }
            if case .object(let members) = json {
                return members.values.lazy.compactMap { processReport($0) }.first
            }
            return json.elements.lazy.compactMap { processReport($0) }.first
        }
    }
}
