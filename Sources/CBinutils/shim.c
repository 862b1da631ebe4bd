// bfd.h refuses to be read without these.
#define PACKAGE "patchbuild"
#define PACKAGE_VERSION "1"

#include <bfd.h>
#include <dis-asm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CBinutils.h"

struct binutils_decoder {
    disassemble_info info;
    disassembler_ftype print;
    struct binutils_instruction *out;
    size_t length;
    int in_comment;
    char operands[256];
};

static void take_mnemonic(struct binutils_decoder *decoder, const char *text, size_t length) {
    // Prefixes ("notrack ", "cs ") come first, each in a call of its own: the last one is the mnemonic.
    char word[sizeof decoder->out->mnemonic] = {0};
    for (size_t i = 0; i < length && i < sizeof word && text[i] != ' '; i++) word[i] = text[i];
    if (word[0] != 0) memcpy(decoder->out->mnemonic, word, sizeof word);
    if (length >= 5 && memcmp(text, "(bad)", 5) == 0) decoder->out->invalid = 1;
}

static void take(struct binutils_decoder *decoder, enum disassembler_style style, const char *text, size_t length) {
    switch (style) {
    case dis_style_mnemonic: take_mnemonic(decoder, text, length); return;
    case dis_style_assembler_directive: decoder->out->invalid = 1; return;
    case dis_style_comment_start: decoder->in_comment = 1; return;
    default: break;
    }
    if (length >= 5 && memcmp(text, "(bad)", 5) == 0) decoder->out->invalid = 1;
    if (decoder->in_comment || length >= sizeof decoder->operands - decoder->length) return;
    memcpy(decoder->operands + decoder->length, text, length);
    decoder->length += length;
}

static int print_styled(void *stream, enum disassembler_style style, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length;
    if (strcmp(format, "%.*s") == 0) {
        // The form that nearly every call has: no need to copy.
        length = va_arg(arguments, int);
        const char *text = va_arg(arguments, const char *);
        if (length > 0) take(stream, style, text, (size_t)length);
    } else {
        char text[128];
        length = vsnprintf(text, sizeof text, format, arguments);
        if (length > 0) take(stream, style, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    }
    va_end(arguments);
    return length;
}

static int print_plain(void *stream, const char *format, ...) {
    (void)stream;
    (void)format;
    return 0;
}

static void print_address(bfd_vma address, disassemble_info *info) {
    struct binutils_decoder *decoder = info->stream;
    decoder->out->reference = address;
    decoder->out->has_reference = 1;
}

static void ignore_error(int status, bfd_vma address, disassemble_info *info) {
    (void)status;
    (void)address;
    (void)info;
}

struct binutils_decoder *binutils_open(void) {
    struct binutils_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) return NULL;
    init_disassemble_info(&decoder->info, decoder, print_plain, print_styled);
    decoder->info.arch = bfd_arch_i386;
    decoder->info.mach = bfd_mach_x86_64;
    decoder->info.print_address_func = print_address;
    decoder->info.memory_error_func = ignore_error;
    disassemble_init_for_target(&decoder->info);
    decoder->print = disassembler(bfd_arch_i386, 0, bfd_mach_x86_64, NULL);
    return decoder;
}

void binutils_close(struct binutils_decoder *decoder) {
    if (decoder == NULL) return;
    disassemble_free_target(&decoder->info);
    free(decoder);
}

void binutils_decode(struct binutils_decoder *decoder, const uint8_t *bytes, size_t count, uint64_t base, size_t offset,
                     struct binutils_instruction *out) {
    memset(out, 0, sizeof *out);
    decoder->out = out;
    decoder->length = 0;
    decoder->in_comment = 0;
    decoder->info.buffer = (bfd_byte *)bytes;
    decoder->info.buffer_length = count;
    decoder->info.buffer_vma = base;
    decoder->info.insn_info_valid = 0;
    decoder->info.insn_type = dis_noninsn;
    decoder->info.target = 0;
    int length = decoder->print(base + offset, &decoder->info);
    decoder->operands[decoder->length] = 0;
    // At the end of the buffer libopcodes returns -1, or spells the bytes out.
    if (length <= 0) out->invalid = 1;
    out->length = length <= 0 ? 1 : (uint8_t)length;
    out->type = (uint8_t)decoder->info.insn_type;
    out->has_target = decoder->info.insn_info_valid != 0;
    out->target = decoder->info.target;
}

const char *binutils_operands(const struct binutils_decoder *decoder) {
    return decoder->operands;
}

char *binutils_demangle(const char *symbol, int parameters) {
    // libiberty's DMGL_PARAMS and DMGL_ANSI, whose header is not installed everywhere.
    return bfd_demangle(NULL, symbol, parameters ? 3 : 0);
}
