import ElfFormat
import PatchFormat
import ProcessControl

/// A function of the process, or of the module, that is called with at most three arguments.
struct PlannedCall: Sendable, Hashable {
    var function: UInt64
    var arguments: [UInt64] = []
}

/// An implementation of an IFUNC that is to be asked for, and the module's slot (as an address in the module) that needs it.
struct PlannedChoice: Sendable, Hashable {
    var slot: UInt64
    var resolver: UInt64
}

/// Calls that a borrowed thread makes one after the other, and how far it has come, in the module's own memory.
///
///     0   u64 number of calls; u64 begun; u64 returned; u64 address of `__errno_location`, or 0
///     32  each call: u64 function, three u64 arguments
///
/// The stub below counts each call as begun before it is made and as returned after it: whoever comes later, the tracer
/// being dead or not, knows which calls were made. It keeps `errno`, as a signal's handler must.
enum CallList {
    private static let headerSize: UInt64 = 32
    static let recordSize: UInt64 = 32
    static let maximumCount = 1 << 16

    /// Offsets in the list.
    static let begunOffset: UInt64 = 8
    static let returnedOffset: UInt64 = 16

    static func size(count: Int) -> UInt64 { headerSize + UInt64(count) * recordSize }

    static func bytes(_ calls: [PlannedCall], errnoLocation: UInt64) -> [UInt8] {
        var words = [UInt64(calls.count), 0, 0, errnoLocation]
        for call in calls {
            words.append(call.function)
            words += (0..<3).map { $0 < call.arguments.count ? call.arguments[$0] : 0 }
        }
        return words.flatMap(littleEndian)
    }

    /// `void stub(struct list *)`
    static let stub: [UInt8] = [
        0x53,  // push %rbx
        0x41, 0x54,  // push %r12
        0x41, 0x55,  // push %r13: the stack is aligned for calls now
        0x48, 0x89, 0xfb,  // mov %rdi, %rbx
        0x45, 0x31, 0xe4,  // xor %r12d, %r12d
        0x48, 0x8b, 0x43, 0x18,  // mov 24(%rbx), %rax
        0x48, 0x85, 0xc0,  // test %rax, %rax
        0x74, 0x08,  // je next
        0xff, 0xd0,  // call *%rax
        0x49, 0x89, 0xc4,  // mov %rax, %r12
        0x44, 0x8b, 0x28,  // mov (%rax), %r13d
        // next:
        0x48, 0x8b, 0x4b, 0x10,  // mov 16(%rbx), %rcx
        0x48, 0x3b, 0x0b,  // cmp (%rbx), %rcx
        0x73, 0x25,  // jae end
        0x48, 0x8d, 0x51, 0x01,  // lea 1(%rcx), %rdx
        0x48, 0x89, 0x53, 0x08,  // mov %rdx, 8(%rbx)
        0x48, 0xc1, 0xe1, 0x05,  // shl $5, %rcx
        0x48, 0x8d, 0x4c, 0x0b, 0x20,  // lea 32(%rbx, %rcx), %rcx
        0x48, 0x8b, 0x79, 0x08,  // mov 8(%rcx), %rdi
        0x48, 0x8b, 0x71, 0x10,  // mov 16(%rcx), %rsi
        0x48, 0x8b, 0x51, 0x18,  // mov 24(%rcx), %rdx
        0xff, 0x11,  // call *(%rcx)
        0x48, 0xff, 0x43, 0x10,  // incq 16(%rbx)
        0xeb, 0xd2,  // jmp next
        // end:
        0x4d, 0x85, 0xe4,  // test %r12, %r12
        0x74, 0x04,  // je out
        0x45, 0x89, 0x2c, 0x24,  // mov %r13d, (%r12)
        // out:
        0x41, 0x5d,  // pop %r13
        0x41, 0x5c,  // pop %r12
        0x5b,  // pop %rbx
        0xc3,  // ret
    ]

    /// `void choose(void **slot, void *(*resolver)(void)) { *slot = resolver(); }`, behind the stub. Resolvers take no arguments
    /// on x86-64.
    static let choose: [UInt8] = [
        0x53,  // push %rbx: the stack is aligned for calls now
        0x48, 0x89, 0xfb,  // mov %rdi, %rbx
        0xff, 0xd6,  // call *%rsi
        0x48, 0x89, 0x03,  // mov %rax, (%rbx)
        0x5b,  // pop %rbx
        0xc3,  // ret
    ]
}

/// Where the stub and the lists of a patch lie: two mappings behind its first module, mapped and unmapped with it.
struct CallArea: Sendable, Hashable {
    /// Addresses in the module.
    var stub: UInt64
    var choose: UInt64
    var load: UInt64
    var unload: UInt64
    /// A word that stays zero: the end of empty `argv` and `envp`.
    var zero: UInt64
}

extension ModuleImage {
    /// Adds room for the stub and two lists of calls at the end of the module.
    mutating func addCallArea(load: Int, unload: Int) -> CallArea {
        let loadSize = CallList.size(count: load) + 8
        let dataSize = (loadSize + CallList.size(count: unload) + pageSize - 1) / pageSize * pageSize
        // Neighbours of one protection would become one mapping, and could not be told apart (`leftovers`).
        let codeFirst = segments.last.map { $0.flags & PF.execute == 0 } ?? true
        let start = memory.count
        let (stub, data) = codeFirst ? (start, start + pageSize) : (start + dataSize, start)
        let code = ModuleSegment(start: stub, size: pageSize, flags: PF.read | PF.execute, fileSize: pageSize)
        let lists = ModuleSegment(start: data, size: dataSize, flags: PF.read | PF.write, fileSize: dataSize)
        segments += codeFirst ? [code, lists] : [lists, code]
        memory.bytes += [UInt8](repeating: 0, count: Int(pageSize + dataSize))
        let functions = CallList.stub + CallList.choose
        memory.bytes.replaceSubrange(Int(stub)..<(Int(stub) + functions.count), with: functions)
        return CallArea(
            stub: stub, choose: stub + UInt64(CallList.stub.count), load: data, unload: data + loadSize,
            zero: data + loadSize - 8)
    }
}
