# Pads for live patches: 5 nops at the entry of every function, where a jump fits.
#
#   include patchable.mk         in a plain Makefile, behind its own flags
#   patchbuild record -- make
#
# The path must have no blanks: make splits it there.

override CFLAGS += -fpatchable-function-entry=5
override CXXFLAGS += -fpatchable-function-entry=5
override LDFLAGS += -Wl,--build-id=sha1
