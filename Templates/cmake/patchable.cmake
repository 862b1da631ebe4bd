# Pads for live patches: 5 nops at the entry of every function, where a jump fits.
#
#   include(patchable.cmake)     at the top of CMakeLists.txt, before the first target; or, with no change to it,
#   cmake -DCMAKE_PROJECT_INCLUDE=/path/to/patchable.cmake ...
#
# The build-id names the build that a patch is made for; the compile commands are what `patchbuild build` replays.

include(CheckCCompilerFlag)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

check_c_compiler_flag(-fpatchable-function-entry=5 HAVE_PATCHABLE_FUNCTION_ENTRY)
if(HAVE_PATCHABLE_FUNCTION_ENTRY)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fpatchable-function-entry=5>)
endif()
add_link_options(-Wl,--build-id=sha1)
