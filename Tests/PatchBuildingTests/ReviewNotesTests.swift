import SourceChanges
import Testing

@testable import PatchBuilding

@Suite struct ReviewNotesTests {
    @Test func `trap meaning-without-layout: a macro with another value is named`() throws {
        let tree = try SourceTree(["size.h": "#define ROOM 64 /* bytes */\n#define SAME 7\n#define F(x) x\n"])
        defer { tree.remove() }
        let change = tree.change(["size.h": "#define ROOM 256\n#define SAME  7\n#define F(x) (x)\n"])
        let notes = changedMacros(change)
        #expect(notes.count == 1)
        #expect(notes.first?.contains("ROOM changes from 64 to 256") == true)
    }
}
