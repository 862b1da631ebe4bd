/* The protocol: one line, one reply.
 *
 *     SETUP id caller called pin    ROUTE id trunk number  | REJECT id reason
 *     ANSWER id                     OK id                  | UNKNOWN id
 *     HANGUP id                     OK id units            | UNKNOWN id
 *     STATS                         name=value ...
 */
#include "callserver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct statistics statistics;

static void count(unsigned long *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static void handle_setup(unsigned long id, char *arguments, char *reply, size_t room)
{
    struct call call = {.id = id, .state = CALL_ROUTED};
    char *rest = NULL;
    char *caller = strtok_r(arguments, " ", &rest);
    char *called = strtok_r(NULL, " ", &rest);
    char *pin = strtok_r(NULL, " ", &rest);

    if (!caller || !called || !pin || !caller_is_known(caller)) {
        count(&statistics.rejected);
        snprintf(reply, room, "REJECT %lu caller\n", id);
        return;
    }
    snprintf(call.pin, sizeof call.pin, "%s", pin);
    call.trunk = route_call(called, &call);
    if (!call.trunk || session_add(&call) != 0) {
        count(&statistics.rejected);
        snprintf(reply, room, "REJECT %lu no-route\n", id);
        return;
    }
    count(&statistics.setups);
    snprintf(reply, room, "ROUTE %lu %s %s\n", id, call.trunk, call.number);
}

static void mark_answered(struct call *call)
{
    call->state = CALL_ANSWERED;
    clock_gettime(CLOCK_MONOTONIC, &call->answered);
}

static void unknown(unsigned long id, char *reply, size_t room)
{
    count(&statistics.unknown);
    snprintf(reply, room, "UNKNOWN %lu\n", id);
}

static void handle_answer(unsigned long id, char *arguments, char *reply, size_t room)
{
    (void)arguments;
    if (session_update(id, mark_answered) != 0) {
        unknown(id, reply, room);
        return;
    }
    count(&statistics.answers);
    snprintf(reply, room, "OK %lu\n", id);
}

static void handle_hangup(unsigned long id, char *arguments, char *reply, size_t room)
{
    struct call call;
    struct timespec now;

    (void)arguments;
    if (session_take(id, &call) != 0) {
        unknown(id, reply, room);
        return;
    }
    count(&statistics.hangups);
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(reply, room, "OK %lu %lu\n", id, charge(&call, &now));
}

static void handle_stats(unsigned long id, char *arguments, char *reply, size_t room)
{
    (void)id, (void)arguments;
    snprintf(reply, room, "up=%lu setups=%lu answers=%lu hangups=%lu rejected=%lu unknown=%lu interrupted=%lu\n",
             session_count(), statistics.setups, statistics.answers, statistics.hangups, statistics.rejected,
             statistics.unknown, statistics.interrupted);
}

static const struct {
    const char *name;
    void (*handle)(unsigned long id, char *arguments, char *reply, size_t room);
} requests[] = {
    {"SETUP", handle_setup},
    {"ANSWER", handle_answer},
    {"HANGUP", handle_hangup},
    {"STATS", handle_stats},
};

void handle_line(char *line, char *reply, size_t room)
{
    char *rest = NULL;
    char *name = strtok_r(line, " ", &rest);
    char *id = strtok_r(NULL, " ", &rest);

    for (size_t i = 0; name && i < sizeof requests / sizeof requests[0]; i++)
        if (strcmp(name, requests[i].name) == 0) {
            requests[i].handle(id ? strtoul(id, NULL, 10) : 0, rest, reply, room);
            return;
        }
    snprintf(reply, room, "WHAT\n");
}
