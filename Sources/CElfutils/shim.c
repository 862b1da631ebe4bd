#define _GNU_SOURCE
#include "CElfutils.h"

#include <sys/mman.h>

int elfutils_memory_file(void) { return memfd_create("object", MFD_CLOEXEC); }

static int find_no_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file, Elf **elf) {
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)elf;
    return -1;
}

static int find_no_debuginfo(
    Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file, const char *link,
    GElf_Word checksum, char **found) {
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)checksum, (void)found;
    return -1;
}

Dwfl *elfutils_begin_offline(void) {
    static const Dwfl_Callbacks callbacks = {
        .find_elf = find_no_elf,
        .find_debuginfo = find_no_debuginfo,
        .section_address = dwfl_offline_section_address,
    };
    return dwfl_begin(&callbacks);
}
