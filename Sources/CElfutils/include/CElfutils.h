#pragma once
// libelf and libdw (elfutils), as they are: all logic is in Swift.
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <libelf.h>

/// A file without a name, for libelf to write to; -1 and errno on failure.
int elfutils_memory_file(void);
