#define _GNU_SOURCE
#include "CElfutils.h"

#include <sys/mman.h>

int elfutils_memory_file(void) { return memfd_create("object", MFD_CLOEXEC); }
