// Swift packages want a source in every C target.
#include "CZydis.h"
