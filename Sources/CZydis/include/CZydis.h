#pragma once
// Zydis, as it is: all logic is in Swift.
#include <Zydis/Zydis.h>
