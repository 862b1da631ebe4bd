import Glibc
import ObjectFiles
import TestSupport
import Testing

/// Whatever bytes a file holds, reading it gives a value or a typed error.
@Suite struct BadFileTests {
    private static let source = """
        #include <stdio.h>
        #include <errno.h>
        static int table[] = {1, 2, 3}; _Thread_local int own; int *p = &table[1];
        int f(int x) { if (x > 3) { errno = x; printf("%d", table[x]); } return own; }
        """

    private func accepts(_ bytes: [UInt8]) -> Bool {
        do {
            let file = try ObjectFile.parse(bytes: bytes, name: "damaged")
            for segment in file.segments { _ = file.bytes(address: segment.address, size: 16) }
            return true
        } catch {
            #expect(!error.description.isEmpty && error.path == "damaged")
            return false
        }
    }

    private func bytes(_ flags: [String]) throws -> [UInt8] {
        try withScratch { try readAll(compile(Self.source, flags, in: $0)) }
    }

    @Test(arguments: [["-c", "-fPIC", "-g"], ["-shared", "-fPIC"]])
    func truncationsAreErrors(_ flags: [String]) throws {
        let whole = try bytes(flags)
        #expect(accepts(whole))
        for length in stride(from: 0, to: whole.count, by: 64) {
            #expect(!accepts(Array(whole.prefix(length))), "truncated at \(length)")
        }
    }

    @Test(arguments: [["-c", "-fPIC"], ["-shared", "-fPIC"]])
    func flippedBytesNeverCrash(_ flags: [String]) throws {
        let whole = try bytes(flags)
        var generator = SplitMix(state: 42)
        for _ in 0..<1500 {
            var damaged = whole
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                damaged[Int.random(in: 0..<whole.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            _ = accepts(damaged)
        }
    }

    @Test(arguments: [["-c", "-fPIC"], ["-shared", "-fPIC"]])
    func damagedHeadersNeverCrash(_ flags: [String]) throws {
        let whole = try bytes(flags)
        let table = whole.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 40, as: UInt64.self)) }
        var generator = SplitMix(state: 7)
        for round in 0..<1500 {
            var damaged = whole
            let place =
                round % 4 == 0
                ? Int.random(in: 4..<64, using: &generator)
                : Int.random(in: table..<whole.count, using: &generator)
            damaged[place] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &generator)!
            _ = accepts(damaged)
        }
    }

    @Test func symbolIndexOutOfRangeNamesTheSection() throws {
        var damaged = try bytes(["-c", "-fPIC"])
        let good = try ObjectFile.parse(bytes: damaged, name: "good")
        let table = try #require(good.section(named: ".rela.text"))
        damaged[Int(table.fileOffset) + 14] = 0xff
        #expect {
            try ObjectFile.parse(bytes: damaged, name: "damaged")
        } throws: { error in
            guard let error = error as? ObjectFileError else { return false }
            return error.place == .section(table.index, name: ".rela.text") && error.reason == .malformed
                && error.description.contains("does not exist")
        }
    }

    @Test func otherClassesMachinesAndFilesAreTold() throws {
        func reason(_ change: (inout [UInt8]) -> Void) throws -> ObjectFileError.Reason? {
            var damaged = try bytes(["-c"])
            change(&damaged)
            do {
                _ = try ObjectFile.parse(bytes: damaged, name: "x")
                return nil
            } catch { return error.reason }
        }
        #expect(try reason { $0[4] = 1 } == .unsupported)
        #expect(try reason { $0[5] = 2 } == .unsupported)
        #expect(try reason { $0[18] = 183 } == .unsupported)
        #expect(try reason { $0[16] = 4 } == .unsupported)
        #expect(try reason { $0 = Array("#!/bin/sh".utf8) } == .notELF)
        #expect(try reason { $0 = [] } == .notELF)
        #expect(throws: ObjectFileError.self) { try ObjectFile.read(path: "/nonexistent") }
        #expect(throws: ObjectFileError.self) { try ObjectFile.read(path: "/tmp") }
    }
}
