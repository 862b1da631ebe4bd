#pragma once

#include <stddef.h>
#include <stdint.h>

/// What libopcodes says of one x86-64 instruction.
struct binutils_instruction {
    /// Direct target of a branch or call, else 0; see `has_target`.
    uint64_t target;
    /// The address printed for a rip-relative or absolute operand; see `has_reference`.
    uint64_t reference;
    /// The mnemonic without prefixes, zero-padded, its first 16 bytes in memory order.
    uint64_t mnemonic[2];
    /// Bytes, at least 1.
    uint8_t length;
    /// `enum dis_insn_type`; 0 where libopcodes says nothing, which is all but branches and calls.
    uint8_t type;
    uint8_t has_target;
    uint8_t has_reference;
    /// The bytes are no instruction.
    uint8_t invalid;
};

struct binutils_decoder;

/// A decoder of x86-64 instructions in AT&T syntax; NULL when out of memory.
struct binutils_decoder *binutils_open(void);
void binutils_close(struct binutils_decoder *decoder);

/// Decodes the instruction at `offset` of `bytes`, whose first byte lies at `base`. `offset` must be below `count`.
void binutils_decode(struct binutils_decoder *decoder, const uint8_t *bytes, size_t count, uint64_t base, size_t offset,
                     struct binutils_instruction *out);

/// The text of the operands of the instruction decoded last, without the comment; valid until the next decoding.
const char *binutils_operands(const struct binutils_decoder *decoder);

/// The C++ name that a symbol stands for, to be freed by the caller; NULL where it is none. With `parameters`, the types of a
/// function's parameters too.
char *binutils_demangle(const char *symbol, int parameters);
