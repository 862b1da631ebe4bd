import ElfFormat

/// A function of the process, or of the module, that is called with at most three arguments.
package struct PlannedCall: Sendable, Hashable {
    package var function: UInt64
    package var arguments: [UInt64] = []

    package init(function: UInt64, arguments: [UInt64] = []) {
        self.function = function
        self.arguments = arguments
    }
}

/// Calls that a borrowed thread makes one after the other, and how far it has come, in the module's own memory.
///
///     0   u64 number of calls; u64 begun; u64 returned; u64 address of `__errno_location`, or 0
///     32  each call: u64 function, three u64 arguments
///
/// The stub below counts each call as begun before it is made and as returned after it: whoever comes later, the tracer
/// being dead or not, knows which calls were made. It keeps `errno`, as a signal's handler must.
package enum CallList {
    private static let headerSize: UInt64 = 32
    package static let recordSize: UInt64 = 32
    package static let maximumCount = 1 << 16

    /// Offsets in the list.
    package static let begunOffset: UInt64 = 8
    package static let returnedOffset: UInt64 = 16

    package static func size(count: Int) -> UInt64 { headerSize + UInt64(count) * recordSize }

    package static func bytes(_ calls: [PlannedCall], errnoLocation: UInt64) -> [UInt8] {
        var words = [UInt64(calls.count), 0, 0, errnoLocation]
        for call in calls {
            words.append(call.function)
            words += (0..<3).map { $0 < call.arguments.count ? call.arguments[$0] : 0 }
        }
        return words.flatMap(littleEndian)
    }

    /// `void stub(struct list *)`
    package static let stub: [UInt8] = [
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
    package static let choose: [UInt8] = [
        0x53,  // push %rbx: the stack is aligned for calls now
        0x48, 0x89, 0xfb,  // mov %rdi, %rbx
        0xff, 0xd6,  // call *%rsi
        0x48, 0x89, 0x03,  // mov %rax, (%rbx)
        0x5b,  // pop %rbx
        0xc3,  // ret
    ]
}
