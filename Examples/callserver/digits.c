/* Digit analysis: from what was dialled to the trunk that carries the call. */
#include "callserver.h"

#include <ctype.h>
#include <string.h>

struct route {
    const char *prefix, *trunk;
};

static const struct route routes[] = {
    {"112", "emergency"}, {"1", "north-america"}, {"44", "london"},   {"46", "stockholm"},
    {"468", "kista"},     {"49", "frankfurt"},    {"4930", "berlin"}, {"81", "tokyo"},
};

/* Copies the digits of a dialled number ("+49 30 1234", "0049-30-1234") into `number`. */
static size_t normalise(const char *dialled, char *number, size_t room)
{
    size_t used = 0;

    if (*dialled == '+')
        dialled++;
    else if (strncmp(dialled, "00", 2) == 0)
        dialled += 2;
    for (; *dialled && used < room; dialled++)
        if (isdigit((unsigned char)*dialled))
            number[used++] = *dialled;
    if (used < room)
        number[used] = '\0';
    return used;
}

/* The longest prefix in the table wins. */
static const char *find_trunk(const char *number)
{
    const char *trunk = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t length = strlen(routes[i].prefix);
        if (length > longest && strncmp(number, routes[i].prefix, length) == 0) {
            longest = length;
            trunk = routes[i].trunk;
        }
    }
    return trunk;
}

const char *route_call(const char *dialled, struct call *call)
{
    if (normalise(dialled, call->number, sizeof call->number) == 0)
        return NULL;
    return find_trunk(call->number);
}

int caller_is_known(const char *dialled)
{
    char number[24] = "";

    return normalise(dialled, number, sizeof number - 1) >= 3 && find_trunk(number) != NULL;
}
