/* A small call server: it sets calls up, answers them, hangs up and charges, for any number of
 * signalling links (TCP connections on the loopback interface), in as many threads as it is told. */
#ifndef CALLSERVER_H
#define CALLSERVER_H

#include <pthread.h>
#include <stddef.h>
#include <time.h>

enum { NUMBER_ROOM = 16, PIN_ROOM = 8, LINE_ROOM = 256 };

enum call_state { CALL_ROUTED, CALL_ANSWERED };

struct call {
    unsigned long id;
    enum call_state state;
    char number[NUMBER_ROOM]; /* the called party, digits only */
    char pin[PIN_ROOM];       /* of the calling card: secret */
    const char *trunk;
    struct timespec answered;
    struct call *next;
};

struct statistics {
    unsigned long setups, answers, hangups, rejected, unknown;
    unsigned long interrupted; /* epoll_wait returned EINTR: nothing should do that to us */
};

extern struct statistics statistics;

/* digits.c: which trunk a dialled number takes; NULL when there is none. */
const char *route_call(const char *dialled, struct call *call);
/* digits.c: whether the calling number may use the server. */
int caller_is_known(const char *dialled);

/* sessions.c: the calls that are up. Each returns 0, or -1 when the call is (not) there. */
int session_add(const struct call *call);
int session_update(unsigned long id, void (*change)(struct call *call));
int session_take(unsigned long id, struct call *call);
unsigned long session_count(void);

/* charging.c: what a call costs, in units. */
unsigned long charge(const struct call *call, const struct timespec *now);

/* protocol.c: one request line in, one reply line out. */
void handle_line(char *line, char *reply, size_t room);

#endif
