#pragma once
// libelf and libdw (elfutils), as they are: all logic is in Swift.
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <libelf.h>
