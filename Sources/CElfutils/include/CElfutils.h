#pragma once
// libelf and libdw (elfutils), as they are: all logic is in Swift.
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <libelf.h>

/// A file without a name, for libelf to write to; -1 and errno on failure.
int elfutils_memory_file(void);

/// A libdwfl session for files given by their contents, which looks for no other file (no debuginfod, no debug paths).
Dwfl *elfutils_begin_offline(void);
